"""A pool of processes for what takes long."""

dirty_apps = ["tasks:Thinker"]
dirty_workers = 1
dirty_timeout = 60


def on_dirty_starting(arbiter):
    arbiter.log.info("the pool starts")
