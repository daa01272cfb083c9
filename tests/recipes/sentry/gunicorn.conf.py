"""Errors are reported from the workers, and from the server when one is stuck."""

import sentry_sdk

workers = 1
timeout = 60


def post_worker_init(worker):
    sentry_sdk.init(dsn=None, environment="test")
    sentry_sdk.set_tag("worker", worker.pid)


def worker_abort(worker):
    sentry_sdk.capture_message("worker aborted")
    sentry_sdk.flush(timeout=2)
