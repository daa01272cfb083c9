"""A site on Starlette."""

import contextlib
from collections.abc import AsyncIterator

from events import note
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from frameworks import shared

site = shared.Site()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    site.start()
    yield {"made_at_startup": "ready"}
    site.stop()


async def plain(request: Request) -> Response:
    return PlainTextResponse("hello")


async def item(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"], "q": request.query_params["q"]})


async def json_echo(request: Request) -> Response:
    return JSONResponse({"got": await request.json()})


async def form(request: Request) -> Response:
    return JSONResponse(dict(await request.form()))


async def upload(request: Request) -> Response:
    async with request.form() as form:
        file = form["file"]
        return JSONResponse(shared.described(file.filename, await file.read()))


async def stream(request: Request) -> Response:
    return StreamingResponse(shared.pieces(), media_type="text/plain")


async def endless(request: Request) -> Response:
    return StreamingResponse(shared.endless())


async def broken(request: Request) -> Response:
    return StreamingResponse(shared.broken())


async def count(request: Request) -> Response:
    sizes = []
    try:
        async for piece in request.stream():
            sizes.append(len(piece))
    except ClientDisconnect:
        note("upload abandoned")
        raise
    return JSONResponse(shared.counted(size for size in sizes if size))


async def background(request: Request) -> Response:
    async def later() -> None:
        note("background done")

    return PlainTextResponse("answered", background=BackgroundTask(later))


async def state(request: Request) -> Response:
    return PlainTextResponse(request.state.made_at_startup)


async def fail(request: Request) -> Response:
    raise RuntimeError("failed on purpose")


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


async def redirect(request: Request) -> Response:
    return RedirectResponse("/plain")


def in_thread(request: Request) -> Response:
    return PlainTextResponse(shared.thread_name())


async def context(request: Request) -> Response:
    return PlainTextResponse(await shared.kept_in_context(request.query_params["value"]))


async def together(request: Request) -> Response:
    return JSONResponse(await site.together(int(request.query_params["n"])))


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        note("websocket left", code=left.code)


async def protocol(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await websocket.send_text("spoken")
    await websocket.close(4001, "as asked")


async def reject(websocket: WebSocket) -> None:
    await websocket.close()


async def crash(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("websocket failed on purpose")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/plain", plain),
        Route("/items/{id:int}", item),
        Route("/json", json_echo, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/stream", stream),
        Route("/endless", endless),
        Route("/broken", broken),
        Route("/count", count, methods=["POST"]),
        Route("/background", background),
        Route("/state", state),
        Route("/fail", fail),
        Route("/cookies", cookies),
        Route("/redirect", redirect),
        Route("/thread", in_thread),
        Route("/context", context),
        Route("/together", together),
        Mount("/static", StaticFiles(directory=shared.static_folder())),
        WebSocketRoute("/ws/echo", echo),
        WebSocketRoute("/ws/protocol", protocol),
        WebSocketRoute("/ws/reject", reject),
        WebSocketRoute("/ws/crash", crash),
    ],
)
