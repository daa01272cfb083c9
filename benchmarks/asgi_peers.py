"""ASGI servers: us and our peers, and how each is started.

All of them run in benchmarks/.venv, with one worker and without an access log, and all but
`monoceros-asyncio` on uvloop. Those for HTTP have WebSocket off where they can, because its
machinery costs some of them for every connection; those for WebSocket have it on, in each
implementation that there is.
"""

from collections.abc import Callable

from programs import PEER_BIN, Launch, Peer

#: Seconds between pings: more than a run takes, because idle clients of a scenario do not answer.
PING_INTERVAL = "3600"


def monoceros(loop: str) -> Callable[[Launch], list[str]]:
    """Our command line, on a loop."""

    def command(launch: Launch) -> list[str]:
        return [
            *(str(PEER_BIN / "python"), "-m", "monoceros", "--worker-class", "asgi"),
            *("--asgi-loop", loop, "--bind", f"127.0.0.1:{launch.port}", "--workers", "1"),
            *("--log-level", "warning", "--worker-connections", str(launch.connections)),
            *("--websocket-ping-interval", PING_INTERVAL),
            launch.app,
        ]

    return command


def uvicorn(websocket: str) -> Callable[[Launch], list[str]]:
    """uvicorn's command line, with one of its WebSocket implementations, or `none`."""

    def command(launch: Launch) -> list[str]:
        return [
            *(str(PEER_BIN / "uvicorn"), "--host", "127.0.0.1", "--port", str(launch.port)),
            *("--loop", "uvloop", "--http", "httptools", "--ws", websocket),
            *("--log-level", "warning", "--no-access-log", "--timeout-keep-alive", "75"),
            *("--ws-ping-interval", PING_INTERVAL),
            launch.app,
        ]

    return command


def granian(*extra: str) -> Callable[[Launch], list[str]]:
    """Granian's command line: HTTP/1 only, as the others."""

    def command(launch: Launch) -> list[str]:
        return [
            *(str(PEER_BIN / "granian"), "--interface", "asgi", "--no-log", "--loop", "uvloop"),
            *("--host", "127.0.0.1", "--port", str(launch.port)),
            *("--workers", "1", "--http", "1", "--runtime-mode", "st"),
            *("--backlog", "2048", "--backpressure", str(max(1024, launch.connections))),
            *extra,
            launch.app,
        ]

    return command


def gunicorn(launch: Launch) -> list[str]:
    """Gunicorn's asgi worker, with its parser in C."""
    return [
        *(str(PEER_BIN / "gunicorn"), "--worker-class", "asgi", "--asgi-loop", "uvloop"),
        *("--http-parser", "fast", "--bind", f"127.0.0.1:{launch.port}", "--workers", "1"),
        *("--log-level", "warning", "--keep-alive", "75"),
        *("--worker-connections", str(launch.connections)),
        launch.app,
    ]


ASGI_PEERS = (
    Peer("monoceros-asyncio", "monoceros", "-k asgi, asyncio", monoceros("asyncio")),
    Peer("monoceros-uvloop", "monoceros", "-k asgi, uvloop", monoceros("uvloop")),
    Peer("uvicorn", "uvicorn", "uvloop, httptools", uvicorn("none")),
    Peer("granian-asgi", "granian", "uvloop, --runtime-mode st", granian("--no-ws")),
    Peer("gunicorn-asgi", "gunicorn", "-k asgi, uvloop, fast parser", gunicorn),
    Peer("uvicorn-websockets", "uvicorn", "--ws websockets", uvicorn("websockets")),
    Peer("uvicorn-sansio", "uvicorn", "--ws websockets-sansio", uvicorn("websockets-sansio")),
    Peer("uvicorn-wsproto", "uvicorn", "--ws wsproto", uvicorn("wsproto")),
    Peer("granian-websocket", "granian", "uvloop, --ws", granian("--ws")),
)
