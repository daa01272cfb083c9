"""``python -m gunicorn`` within our processes: the command of `monoceros-gunicorn`."""

from monoceros.cli import main

main(prog="gunicorn")
