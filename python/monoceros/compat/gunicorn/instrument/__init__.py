"""Gunicorn's instruments; see `monoceros.compat`."""
