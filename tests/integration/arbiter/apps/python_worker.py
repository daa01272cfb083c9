"""A worker class without the engine, named by its dotted path: sockets and HTTP in Python.

It keeps to Gunicorn's contract for worker classes, so these tests show that one runs unchanged.
"""

import select
from typing import Any

from events import note

from monoceros.workers.base import Worker


class PythonWorker(Worker):
    """One request at a time, one request per connection."""

    def run(self) -> None:
        self.notify()
        note("serving")
        while self.alive:
            self.notify()
            readable, _, _ = select.select(self.sockets, [], [], 0.1)
            for listener in readable:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    continue
                with connection:
                    connection.settimeout(10)
                    self.serve(connection)

    def serve(self, connection: Any) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        target = head.split(b" ", 2)[1].decode()
        path, _, query = target.partition("?")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query}
        body = b"".join(self.wsgi(environ, lambda status, fields: None))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


class LateWorker(PythonWorker):
    """Its run has start-up work of its own, which can fail."""

    ready_at_first_notify = True

    def run(self) -> None:
        self.wsgi({"PATH_INFO": "/start-up", "QUERY_STRING": ""}, lambda status, fields: None)
        super().run()


class DeafWorker(PythonWorker):
    """Does not end on TERM."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.log.info("TERM is not heard")


class BrokenWorker(PythonWorker):
    """Cannot be made."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        raise RuntimeError("this class is broken")
