"""An app that tells what it sees of TLS."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/digest":
        body = environ["wsgi.input"].read()
        return _answer(start, f"{len(body)} {hashlib.sha256(body).hexdigest()}")
    if path == "/file":
        start("200 OK", [("Content-Type", "application/octet-stream")])
        file = Path(environ["QUERY_STRING"]).open("rb")  # noqa: SIM115 - the server closes it
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]
    if path == "/list":
        start("200 OK", [])
        return [bytes([65 + number % 26]) * 50_000 for number in range(100)]
    if path == "/stream":
        start("200 OK", [])
        return (bytes([65 + number % 26]) * 10_000 for number in range(500))
    if path == "/peer":
        return _answer(start, json.dumps(_peer(environ["gunicorn.socket"])))
    keys = ("wsgi.url_scheme", "SERVER_PORT", "HTTPS")
    facts = {key: value for key, value in environ.items() if key in keys or key[:4] == "SSL_"}
    return _answer(start, json.dumps(facts))


def _peer(sock: Any) -> dict[str, Any]:
    binary = sock.getpeercert(binary_form=True)
    return {
        "certificate": sock.getpeercert(),
        "binary": binary and binary.hex(),
        "cipher": sock.cipher(),
        "version": sock.version(),
        "protocol": sock.selected_alpn_protocol(),
        "address": sock.getpeername(),
        "can send": hasattr(sock, "send"),
    }


def _answer(start: Callable[..., Any], text: str) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
