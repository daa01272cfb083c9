"""From a ConfigMap: files that tell probes what goes on."""

import logging
from pathlib import Path

graceful_timeout = 35
timeout = 60
worker_class = "gthread"
threads = 4
accesslog = None
max_requests = 5000
max_requests_jitter = 500

READY = Path("ready")


def when_ready(server):
    READY.touch()


def on_exit(server):
    READY.unlink()
    logging.getLogger("gunicorn.error").info("no longer ready")


def child_exit(server, worker):
    server.log.info("worker %s has left", worker.pid)
