"""`gunicorn.pidfile`: the file with the master's pid."""

from monoceros.pidfile import Pidfile as Pidfile
