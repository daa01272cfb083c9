"""Gunicorn's HTTP; requests are read and answered by the engine here. See `monoceros.compat`."""

from gunicorn.http.message import Message as Message  # type: ignore[import-untyped]
from gunicorn.http.message import Request as Request
