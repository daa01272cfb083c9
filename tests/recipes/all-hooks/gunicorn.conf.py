"""Every hook, as the example of Gunicorn's own documentation has them."""

workers = 1


def on_starting(server):
    server.log.info("hook on_starting %s", server.pid)


def on_reload(server):
    server.log.info("hook on_reload")


def when_ready(server):
    server.log.info("hook when_ready %s", server.address)


def pre_fork(server, worker):
    server.log.info("hook pre_fork %s", worker.age)


def post_fork(server, worker):
    server.log.info("hook post_fork %s of %s", worker.pid, worker.ppid)


def post_worker_init(worker):
    worker.log.info("hook post_worker_init %s", worker.cfg.proc_name)


def worker_int(worker):
    worker.log.info("hook worker_int")


def worker_abort(worker):
    worker.log.info("hook worker_abort")


def pre_request(worker, req):
    worker.log.info("hook pre_request %s %s", req.method, req.path)


def post_request(worker, req, environ, resp):
    worker.log.info("hook post_request %s %s", environ["REQUEST_METHOD"], resp.status)


def child_exit(server, worker):
    server.log.info("hook child_exit %s", worker.pid)


def worker_exit(server, worker):
    worker.log.info("hook worker_exit %s", worker.pid)


def nworkers_changed(server, new_value, old_value):
    server.log.info("hook nworkers_changed %s %s", new_value, old_value)


def on_exit(server):
    server.log.info("hook on_exit")
