"""Worker classes as people write them for Gunicorn, by Gunicorn's names."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events import note
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker


class MeasuringSync(SyncWorker):
    """Instruments each request, as monitoring agents do."""

    def handle_request(self, listener: Any, req: Any, client: Any, addr: Any) -> None:
        note(
            "before",
            path=req.path,
            addr=list(addr),
            listener=str(listener),
            thread=threading.current_thread().name,
        )
        try:
            super().handle_request(listener, req, client, addr)
        finally:
            note("after", path=req.path, nr=self.nr)


class MeasuringThreads(ThreadWorker):
    def handle_request(self, req: Any, conn: Any) -> Any:
        note(
            "before",
            path=req.path,
            addr=list(conn.client),
            listener=str(conn.listener),
            thread=threading.current_thread().name,
        )
        try:
            return super().handle_request(req, conn)
        finally:
            note("after", path=req.path, nr=self.nr)


class ReportingSync(SyncWorker):
    """Sends errors somewhere, and looks at each connection."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        note("handle", peer=list(client.getpeername()))
        super().handle(listener, client, addr)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        note("error", path=req.path, error=repr(exc))
        super().handle_error(req, client, addr, exc)


class ReportingThreads(ThreadWorker):
    def handle(self, conn: Any) -> Any:
        note("handle", peer=list(conn.sock.getpeername()))
        return super().handle(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        note("error", path=req.path, error=repr(exc))
        super().handle_error(req, client, addr, exc)


class _Life:
    """What both kinds override of a worker's life."""

    def init_process(self) -> None:
        note("init_process")
        super().init_process()  # type: ignore[misc]

    def load_wsgi(self) -> None:
        super().load_wsgi()  # type: ignore[misc]
        note("load_wsgi", callable=callable(self.wsgi))  # type: ignore[has-type]
        inner = self.wsgi  # type: ignore[has-type]

        def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
            environ["wrapped"] = "yes"
            return inner(environ, start_response)

        self.wsgi = wrapped

    def run(self) -> None:
        note("run")
        super().run()  # type: ignore[misc]

    def notify(self) -> None:
        super().notify()  # type: ignore[misc]
        note("notify")

    def handle_exit(self, sig: int, frame: Any) -> None:
        note("handle_exit")
        super().handle_exit(sig, frame)  # type: ignore[misc]

    def handle_quit(self, sig: int, frame: Any) -> None:
        note("handle_quit")
        super().handle_quit(sig, frame)  # type: ignore[misc]

    def handle_abort(self, sig: int, frame: Any) -> None:
        note("handle_abort")
        super().handle_abort(sig, frame)  # type: ignore[misc]


class LifeSync(_Life, SyncWorker):
    pass


class LifeThreads(_Life, ThreadWorker):
    pass


class OwnExit(SyncWorker):
    """Leaves the base's handler out: Gunicorn's loop looks at `alive` alone."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.alive = False
        note("handle_exit")


class PooledThreads(ThreadWorker):
    """Prepares its threads, which is what get_thread_pool is there for."""

    def get_thread_pool(self) -> ThreadPoolExecutor:
        def prepare() -> None:
            note("prepared", thread=threading.current_thread().name)

        return ThreadPoolExecutor(
            max_workers=self.cfg.threads, thread_name_prefix="mine", initializer=prepare
        )


class InVain(SyncWorker):
    """Overrides what the engine does by itself."""

    def accept(self, listener: Any) -> None:
        raise AssertionError("nobody calls this")

    def run_for_one(self, timeout: float) -> None:
        raise AssertionError("nobody calls this")


class WithoutApp(SyncWorker):
    """Does not call what it overrides."""

    def handle_request(self, listener: Any, req: Any, client: Any, addr: Any) -> None:
        note("left out", pid=os.getpid())


class Plain(SyncWorker):
    """Overrides nothing that happens per request."""

    def init_process(self) -> None:
        super().init_process()


def slow_body(environ: dict[str, Any], start_response: Any) -> Any:
    """A body that is made bit by bit, and tells when."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        for number in range(3):
            note("chunk", number=number)
            yield b"%d\n" % number
    finally:
        note("closed")


def app(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/stream":
        return slow_body(environ, start_response)
    if path == "/fail":
        raise ValueError("failing on purpose")
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = [str(os.getpid()), threading.current_thread().name, environ.get("wrapped", "no")]
    return [" ".join(names).encode()]
