"""A site on BlackSheep."""

import asyncio

from blacksheep import (
    Application,
    Content,
    Cookie,
    FromForm,
    FromJSON,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    json,
    redirect,
    text,
)
from events import note

from frameworks import shared

site = shared.Site()
app = Application()
app.serve_files(shared.static_folder(), root_path="static")
ready: list[str] = []
tasks: set[asyncio.Task[None]] = set()


@app.on_start
async def start(application: Application) -> None:
    site.start()
    ready.append("ready")


@app.on_stop
async def stop(application: Application) -> None:
    site.stop()


@app.router.get("/plain")
async def plain() -> Response:
    return text("hello")


@app.router.get("/items/{int:id}")
async def item(id: int, q: str) -> Response:
    return json({"id": id, "q": q})


@app.router.post("/json")
async def json_echo(got: FromJSON[dict]) -> Response:  # type: ignore[type-arg]
    return json({"got": got.value})


@app.router.post("/form")
async def form(data: FromForm[dict]) -> Response:  # type: ignore[type-arg]
    return json(data.value)


@app.router.post("/upload")
async def upload(request: Request) -> Response:
    [part] = [part for part in await request.multipart() or [] if part.file_name]
    content = part.data if isinstance(part.data, bytes) else part.data.read()
    return json(shared.described((part.file_name or b"").decode(), content))


@app.router.get("/stream")
async def stream() -> Response:
    return Response(200, content=StreamedContent(b"text/plain", shared.pieces))


@app.router.get("/endless")
async def endless() -> Response:
    return Response(200, content=StreamedContent(b"text/plain", shared.endless))


@app.router.get("/broken")
async def broken() -> Response:
    return Response(200, content=StreamedContent(b"text/plain", shared.broken))


@app.router.post("/count")
async def count(request: Request) -> Response:
    sizes = [len(piece) async for piece in request.stream()]
    return json(shared.counted(size for size in sizes if size))


@app.router.get("/background")
async def background() -> Response:
    # It has no background work of its own: its documentation says to make a task.
    async def later() -> None:
        await asyncio.sleep(0)
        note("background done")

    task = asyncio.create_task(later())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return text("answered")


@app.router.get("/state")
async def state() -> Response:
    return text(ready[0])


@app.router.get("/fail")
async def fail() -> Response:
    raise RuntimeError("failed on purpose")


@app.router.get("/cookies")
async def cookies(request: Request) -> Response:
    response = json(dict(request.cookies))
    response.set_cookie(Cookie("one", "1"))
    response.set_cookie(Cookie("two", "2", http_only=True))
    return response


@app.router.get("/redirect")
async def redirected() -> Response:
    return redirect("/plain")


@app.router.get("/thread")
async def in_thread() -> Response:
    # It calls synchronous handlers on the loop: threads are asyncio's.
    return text(await asyncio.to_thread(shared.thread_name))


@app.router.get("/context")
async def context(value: str) -> Response:
    return text(await shared.kept_in_context(value))


@app.router.get("/together")
async def together(n: int) -> Response:
    return Response(200, content=Content(b"application/json", b"%d" % await site.together(n)))


@app.router.ws("/ws/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                note("websocket left", code=message["code"])
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnectError as left:
        note("websocket left", code=left.code)


@app.router.ws("/ws/protocol")
async def protocol(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await websocket.send_text("spoken")
    await websocket.close(4001, "as asked")


@app.router.ws("/ws/reject")
async def reject(websocket: WebSocket) -> None:
    await websocket.close()


@app.router.ws("/ws/crash")
async def crash(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("websocket failed on purpose")
