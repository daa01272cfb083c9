"""The cases whose CPU time per request is measured."""

from dataclasses import dataclass

from load import Load

#: What a desktop browser sends with a click on a link: 14 headers besides Host.
BROWSER = (
    "Connection: keep-alive",
    "Cache-Control: max-age=0",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.org/talks/what-fork-does?from=home",
    "Cookie: session=eyJ1c2VyIjoiOTQyMSIsImxhbmciOiJlbiJ9.aGVsbG8.b3J0aG9kb3hfY29va2ll; theme=dark",
    "DNT: 1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=0, i",
)


@dataclass(frozen=True)
class Case:
    """`app` is the one of apps/subjects.py; `peers` the names of those that take part."""

    name: str
    title: str
    app: str
    load: Load
    peers: tuple[str, ...]


WSGI = (
    "monoceros",
    "bjoern",
    "fastwsgi",
    "granian",
    "granian-default",
    "gunicorn-gthread",
    "gunicorn-sync",
)

#: Those that speak TLS by themselves.
TLS = ("monoceros", "granian", "gunicorn-gthread", "nginx")

#: Ours with an access log: in the default format, as JSON, and in a format with header fields.
LOGGING = ("monoceros-access-log", "monoceros-access-log-json", "monoceros-access-log-format")

CASES = (
    Case(
        "plain",
        "13 bytes, 32 keep-alive connections",
        "plain",
        Load(),
        (*WSGI, "nginx", "monoceros-threads", *LOGGING, "monoceros-gevent", "gunicorn-gevent"),
    ),
    Case(
        "browser",
        "a browser's 14 headers",
        "plain",
        Load(headers=BROWSER),
        (*WSGI, "nginx"),
    ),
    Case(
        "post",
        "POST of 10 KB that the app reads",
        "upload",
        Load("POST", 10_240, ("Content-Type: application/octet-stream",)),
        WSGI,
    ),
    Case("large", "an answer of 100 KB", "large", Load(), WSGI),
    Case(
        "connection",
        "a connection per request",
        "plain",
        Load(headers=("Connection: close",)),
        (*WSGI, "nginx"),
    ),
    Case(
        "tls", "13 bytes over TLS 1.3, 32 keep-alive connections", "plain", Load(secure=True), TLS
    ),
    Case(
        "handshake",
        "a TLS 1.3 connection with a full handshake per request",
        "plain",
        Load(headers=("Connection: close",), secure=True),
        TLS,
    ),
)
