"""An app whose requests get stuck, each in a function with a name of its own."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from events import note

Start = Callable[..., Any]

_never = threading.Lock()
_never.acquire()

#: Functions called through it keep the interpreter's lock, as a badly written extension does.
_holding = ctypes.PyDLL(None)


def stuck_in_sleep() -> None:
    time.sleep(60)


def stuck_on_a_lock() -> None:
    _never.acquire()


def stuck_in_a_loop() -> None:
    count = 0
    while True:
        count += 1


def stuck_in_c() -> None:
    """A mutex of C, locked twice: no signal ends it, and no other thread can run Python."""
    mutex = ctypes.create_string_buffer(128)
    _holding.pthread_mutex_lock(mutex)
    _holding.pthread_mutex_lock(mutex)


def stuck_in_c_sleep() -> None:
    """A sleep in C that holds the interpreter."""
    _holding.sleep(60)


WAYS = {
    "sleep": stuck_in_sleep,
    "lock": stuck_on_a_lock,
    "loop": stuck_in_a_loop,
    "c": stuck_in_c,
    "c-sleep": stuck_in_c_sleep,
}

_pairs = threading.Barrier(2)


def answer(start: Start, body: bytes) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/meet":
        try:
            # Well under every deadline that tests set.
            _pairs.wait(timeout=0.4)
        except threading.BrokenBarrierError:
            _pairs.reset()
            start("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
    elif path == "/slow":
        time.sleep(4)
    elif path.startswith("/stuck-after/"):
        return _partly(path.removeprefix("/stuck-after/"), start)
    elif path.startswith("/stuck/"):
        note("stuck", path=path)
        WAYS[path.removeprefix("/stuck/")]()
    return answer(start, b"fine\n")


def _partly(way: str, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    yield b"first piece\n"
    note("stuck", path=way)
    WAYS[way]()
