"""`gunicorn.arbiter`: the master process."""

from monoceros import SERVER_SOFTWARE as SERVER_SOFTWARE
from monoceros.arbiter import Arbiter as Arbiter
from monoceros.errors import AppImportError as AppImportError
from monoceros.errors import HaltServer as HaltServer
