"""`gunicorn.errors`: what ends a server or keeps it from starting."""

from monoceros.errors import AppImportError as AppImportError
from monoceros.errors import ConfigError as ConfigError
from monoceros.errors import HaltServer as HaltServer
