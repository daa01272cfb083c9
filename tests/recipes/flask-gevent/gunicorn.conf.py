worker_class = "gevent"
workers = 2
worker_connections = 500
keepalive = 5
