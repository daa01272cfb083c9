"""Gunicorn's worker classes; see `monoceros.compat`."""

from monoceros.config.classes import WORKER_ALIASES

#: Aliases and the classes that they mean.
SUPPORTED_WORKERS = {name: path for name, path in WORKER_ALIASES.items() if "." not in name}
