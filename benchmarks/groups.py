"""The halves of the benchmark: whom a case is about, and whom we are held against in it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """`ours` are our settings of which the cheapest counts as ours, `rivals` those of which the
    cheapest is the one to beat. `unit` is what the load counts."""

    name: str
    title: str
    ours: tuple[str, ...]
    rivals: tuple[str, ...]
    unit: str = "request"


WSGI = Group("wsgi", "WSGI", ("monoceros",), ("granian", "granian-default", "bjoern", "fastwsgi"))

ASGI = Group(
    "asgi",
    "ASGI",
    ("monoceros-asyncio", "monoceros-uvloop"),
    ("uvicorn", "granian-asgi", "gunicorn-asgi"),
)

WEBSOCKET = Group(
    "websocket",
    "WebSocket",
    ("monoceros-asyncio", "monoceros-uvloop"),
    ("uvicorn-websockets", "uvicorn-sansio", "uvicorn-wsproto", "granian-websocket"),
    "message",
)

GROUPS = (WSGI, ASGI, WEBSOCKET)
