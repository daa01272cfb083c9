"""A WSGI app without a framework, which tells what of its environment it has been given."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    lines = [
        "hello",
        f"pid {os.getpid()}",
        f"thread {threading.current_thread().name}",
        f"scheme {environ['wsgi.url_scheme']}",
        f"address {environ['REMOTE_ADDR']}",
        f"script {environ['SCRIPT_NAME']}",
        f"folder {os.getcwd()}",
        f"stage {os.environ.get('STAGE', '')}",
    ]
    body = "\n".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = application
