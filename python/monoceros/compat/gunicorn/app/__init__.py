"""Gunicorn's applications; see `monoceros.compat`."""
