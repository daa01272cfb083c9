"""Threads for an app that waits for others most of the time."""

workers = 2
threads = 8
worker_class = "gthread"
worker_connections = 200
timeout = 120
graceful_timeout = 10
keepalive = 75
