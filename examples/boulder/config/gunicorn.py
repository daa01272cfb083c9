"""Settings of the server."""

bind = "127.0.0.1:8000"
backlog = 2048
workers = 3
worker_class = "sync"
worker_connections = 1000
timeout = 30
keepalive = 75
