"""The app is imported once; connections are made anew in each worker."""

preload_app = True
workers = 2

_connections = {}


def on_starting(server):
    server.log.info("starting with %s workers", server.cfg.workers)


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
    _connections.clear()
    _connections[worker.pid] = object()


def pre_fork(server, worker):
    pass


def when_ready(server):
    server.log.info("Server is ready. Spawning workers")


def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")


def worker_abort(worker):
    worker.log.info("worker received SIGABRT signal")
