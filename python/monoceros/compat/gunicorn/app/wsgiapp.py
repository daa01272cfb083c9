"""`gunicorn.app.wsgiapp`: the command's application."""

from monoceros.app import WSGIApplication as WSGIApplication
from monoceros.cli import main


def run(prog: str | None = None) -> None:
    """Serve what the command line names. `prog`: the program's name in messages."""
    main(prog=prog or "gunicorn")


if __name__ == "__main__":
    run()
