"""The cases whose CPU time per request is measured."""

from dataclasses import dataclass

from echo import Echo
from groups import ASGI, WEBSOCKET, WSGI, Group
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
    """`app` is the one of apps/subjects.py, or "module:name"; `peers` the names of those that
    take part. Our CPU time over the best rival's is at most `bound`; `rivals` are those of the
    group unless a case has its own."""

    name: str
    title: str
    app: str
    load: Load | Echo
    peers: tuple[str, ...]
    group: Group = WSGI
    bound: float = 1.0
    own_rivals: tuple[str, ...] = ()

    @property
    def rivals(self) -> tuple[str, ...]:
        return self.own_rivals or self.group.rivals


WSGI_SERVERS = (
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

POST = Load("POST", 10_240, ("Content-Type: application/octet-stream",))

WSGI_CASES = (
    Case(
        "plain",
        "13 bytes, 32 keep-alive connections",
        "plain",
        Load(),
        (
            *WSGI_SERVERS,
            "nginx",
            "monoceros-threads",
            *LOGGING,
            "monoceros-gevent",
            "gunicorn-gevent",
        ),
    ),
    Case(
        "browser",
        "a browser's 14 headers",
        "plain",
        Load(headers=BROWSER),
        (*WSGI_SERVERS, "nginx"),
    ),
    Case(
        "post",
        "POST of 10 KB that the app reads",
        "upload",
        POST,
        WSGI_SERVERS,
    ),
    Case("large", "an answer of 100 KB", "large", Load(), WSGI_SERVERS),
    Case(
        "connection",
        "a connection per request",
        "plain",
        Load(headers=("Connection: close",)),
        (*WSGI_SERVERS, "nginx"),
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

ASGI_SERVERS = (*ASGI.ours, *ASGI.rivals)


def asgi(name: str, title: str, app: str, load: Load, bound: float) -> Case:
    """A case with an app of apps/asgi_subjects.py."""
    return Case(f"asgi-{name}", title, f"asgi_subjects:{app}", load, ASGI_SERVERS, ASGI, bound)


def framework(name: str, title: str) -> Case:
    """A case with a framework, in which most of the time is the framework's own: ours are held
    against uvicorn, which is what people run it on."""
    return Case(
        f"asgi-{name}", title, f"{name}_site:app", Load(), ASGI_SERVERS, ASGI, 0.8, ("uvicorn",)
    )


ASGI_CASES = (
    asgi("plain", "13 bytes, 32 keep-alive connections", "plain", Load(), 0.55),
    asgi("browser", "a browser's 14 headers", "plain", Load(headers=BROWSER), 0.65),
    asgi("post", "POST of 10 KB that the app reads", "upload", POST, 0.65),
    asgi("large", "an answer of 100 KB", "large", Load(), 0.65),
    asgi(
        "connection",
        "a connection per request",
        "plain",
        Load(headers=("Connection: close",)),
        0.65,
    ),
    framework("starlette", "a JSON endpoint in Starlette"),
    framework("fastapi", "a JSON endpoint in FastAPI"),
)

#: 1.5 times the messages in a second of CPU.
ECHO_BOUND = 1 / 1.5

#: Granian has no permessage-deflate.
DEFLATING = (*WEBSOCKET.ours, "uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto")


def echo(name: str, title: str, load: Echo) -> Case:
    """A case of messages that come back."""
    peers = DEFLATING if load.deflate else (*WEBSOCKET.ours, *WEBSOCKET.rivals)
    return Case(f"echo-{name}", title, "asgi_subjects:echo", load, peers, WEBSOCKET, ECHO_BOUND)


WEBSOCKET_CASES = (
    echo("small", "messages of 125 bytes, 100 connections", Echo(125)),
    echo("large", "messages of 64 KiB, 100 connections", Echo(65_536)),
    echo("small-deflate", "messages of 125 bytes, deflated", Echo(125, deflate=True)),
    echo("large-deflate", "messages of 64 KiB, deflated", Echo(65_536, deflate=True)),
)

CASES = (*WSGI_CASES, *ASGI_CASES, *WEBSOCKET_CASES)

#: The one of each group that a quick run measures with all peers.
LEADING = ("plain", "asgi-plain", "echo-small")
