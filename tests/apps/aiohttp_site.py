"""The app of `asgi_site` for aiohttp."""

import os

from aiohttp import web
from asgi_site import _answer
from events import note


async def _serving(_app: web.Application) -> None:
    if os.environ.get("BROKEN"):
        raise RuntimeError("broken on purpose")
    note("serving")


async def _shutdown(_app: web.Application) -> None:
    note("lifespan_shutdown")


async def _handle(request: web.Request) -> web.Response:
    body = await _answer(request.path)
    return web.Response(body=body, headers={"X-Scheme": request.scheme})


app = web.Application()
app.on_startup.append(_serving)
app.on_cleanup.append(_shutdown)
app.router.add_get("/{path:.*}", _handle)
