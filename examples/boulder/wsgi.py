"""What the server loads: `wsgi:app`."""

from boulder import create_app

app = create_app()
