worker_class = "uvicorn_worker.UvicornWorker"
workers = 2
keepalive = 5
graceful_timeout = 20
