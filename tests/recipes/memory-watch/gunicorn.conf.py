"""A thread of the master looks at how large the workers are."""

import os
import signal
import threading

workers = 2

LIMIT = int(os.environ.get("WORKER_MEMORY_LIMIT", 2**40))
PAGE = os.sysconf("SC_PAGE_SIZE")


def _resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE


def _watch(server, stop):
    while not stop.wait(0.2):
        for pid in list(server.WORKERS):
            try:
                if _resident(pid) > LIMIT:
                    server.log.warning("worker %s is too large", pid)
                    server.kill_worker(pid, signal.SIGTERM)
            except (OSError, IndexError):
                continue  # it has just ended


def when_ready(server):
    server.log.info("watching workers")
    threading.Thread(target=_watch, args=(server, threading.Event()), daemon=True).start()
