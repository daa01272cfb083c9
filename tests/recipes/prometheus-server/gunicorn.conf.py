"""Metrics on a port of their own, served by a thread of the master."""

import os

from prometheus_client import start_http_server

workers = 2
threads = 2


def when_ready(server):
    start_http_server(int(os.environ["METRICS_PORT"]), addr="127.0.0.1")
