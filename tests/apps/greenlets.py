"""What a request does to its greenlet, and to the hub."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import events

#: Whether the standard library was cooperative already when this module was imported.
PATCHED_AT_IMPORT = socket.socket.__module__.startswith("gevent")

#: How many requests are in the app now, and at most so far.
inside = 0
most_inside = 0


def hold_the_hub(seconds: float) -> None:
    """A sleep that no other greenlet gets anything from."""
    import gevent.monkey

    gevent.monkey.get_original("time", "sleep")(seconds)


def spin(seconds: float) -> None:
    """The same, in bytecode."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def counted(seconds: float) -> None:
    global inside, most_inside
    inside += 1
    most_inside = max(most_inside, inside)
    try:
        time.sleep(seconds)
    finally:
        inside -= 1


def pieces(count: int, seconds: float) -> Iterator[bytes]:
    local = threading.local()
    local.name = "mine"
    try:
        for number in range(count):
            time.sleep(seconds)
            yield f"{number} {local.name}\n".encode()
    finally:
        events.note("pieces-closed")


def large(size: int, count: int) -> Iterator[bytes]:
    """Each piece says whether it still runs in the greenlet that made the first one."""
    import gevent

    first = gevent.getcurrent()
    try:
        for _ in range(count):
            assert gevent.getcurrent() is first
            yield b"x" * size
    finally:
        events.note("large-closed")


def app(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    argument = float(environ["QUERY_STRING"] or 0)
    body = b"ok"
    if path == "/sleep":
        events.note("sleeping")
        counted(argument)
    elif path == "/hold":
        events.note("holding")
        hold_the_hub(argument)
        events.note("held")
    elif path == "/spin":
        events.note("holding")
        spin(argument)
    elif path == "/most":
        body = str(most_inside).encode()
    elif path == "/patched":
        body = str(PATCHED_AT_IMPORT).encode()
    elif path == "/pid":
        body = str(os.getpid()).encode()
    elif path == "/pieces":
        start_response("200 OK", [])
        return pieces(5, argument)
    elif path == "/large":
        start_response("200 OK", [])
        return large(100_000, int(argument) or 100)
    elif path == "/write":
        write = start_response("200 OK", [])
        try:
            for _ in range(int(argument) or 100):
                write(b"x" * 100_000)
        except BrokenPipeError:
            events.note("write-refused")
            raise
        return []
    elif path == "/timeout":
        import gevent

        with gevent.Timeout(argument):
            time.sleep(60)
    elif path == "/kill":
        import gevent

        gevent.getcurrent().throw(gevent.GreenletExit)
    elif path == "/exit":
        sys.exit(7)
    elif path == "/cleanup":
        try:
            events.note("sleeping")
            time.sleep(argument)
        finally:
            events.note("cleaned")
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
