"""Monoceros: a pre-fork HTTP server for Python on UNIX."""

__version__ = "0.1.0"

SERVER = "monoceros"
SERVER_SOFTWARE = f"monoceros/{__version__}"
