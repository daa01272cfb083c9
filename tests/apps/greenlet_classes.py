"""A subclass of Gunicorn's gevent class, as people write them."""

from typing import Any

import gevent
from events import note
from gunicorn.workers.ggevent import GeventWorker


class Measuring(GeventWorker):
    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        note("before", path=req.path)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            note("after", path=req.path)


def app(environ: dict[str, Any], start_response: Any) -> Any:
    gevent.sleep(0.5 if environ["PATH_INFO"] == "/slow" else 0.2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]
