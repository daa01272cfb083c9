"""Metrics of several processes: files that the master tidies up."""

import os
import shutil

from prometheus_client import multiprocess

workers = 2


def on_starting(server):
    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
