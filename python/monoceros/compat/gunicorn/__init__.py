"""Gunicorn's names; see `monoceros.compat` for how they are found and for their rules.

`__version__` and `version_info` are those of the Gunicorn release whose contract is kept: code asks
them which names and arguments it can use. `SERVER` and `SERVER_SOFTWARE` are ours; a config file
that replaces them changes what clients and apps are told.
"""

from monoceros import SERVER as SERVER
from monoceros import SERVER_SOFTWARE as SERVER_SOFTWARE

version_info = (27, 0, 1)
__version__ = ".".join(map(str, version_info))
