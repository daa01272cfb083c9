"""Stacks of a worker that is interrupted or aborted."""

import faulthandler
import sys
import threading
import traceback


def post_worker_init(worker):
    faulthandler.enable()


def worker_int(worker):
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        lines = "".join(traceback.format_stack(frame))
        worker.log.info("thread %s\n%s", names.get(ident, ident), lines)


worker_abort = worker_int
