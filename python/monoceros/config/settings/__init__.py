"""The table of settings, by topic. Importing this package fills `KNOWN_SETTINGS`.

The order of these imports is the order of sections in the help.
"""

from monoceros.config.settings import sources as sources  # isort: skip
from monoceros.config.settings import processes as processes  # isort: skip
from monoceros.config.settings import requests as requests  # isort: skip
from monoceros.config.settings import proxies as proxies  # isort: skip
from monoceros.config.settings import uwsgi as uwsgi  # isort: skip
from monoceros.config.settings import asgi as asgi  # isort: skip
from monoceros.config.settings import permissions as permissions  # isort: skip
from monoceros.config.settings import tls as tls  # isort: skip
from monoceros.config.settings import overload as overload  # isort: skip
from monoceros.config.settings import dirty as dirty  # isort: skip
from monoceros.config.settings import mechanics as mechanics  # isort: skip
from monoceros.config.settings import privileges as privileges  # isort: skip
from monoceros.config.settings import logs as logs  # isort: skip
from monoceros.config.settings import syslog as syslog  # isort: skip
from monoceros.config.settings import metrics as metrics  # isort: skip
from monoceros.config.settings import hooks as hooks  # isort: skip
from monoceros.config.settings import development as development  # isort: skip
from monoceros.config.settings import reuse_port as reuse_port  # isort: skip
from monoceros.config.settings import folders as folders  # isort: skip
from monoceros.config.settings import paste as paste  # isort: skip
from monoceros.config.settings import daemon as daemon  # isort: skip
from monoceros.config.settings import upgrade as upgrade  # isort: skip
from monoceros.config.settings import control as control  # isort: skip
