"""What this server promises to those who come from Gunicorn, as data.

The pages `docs/settings.md` and `docs/compat.md` are made from it (`docs/generate.py`), and tests
hold it against the server and against the Gunicorn that is installed beside it.
"""
