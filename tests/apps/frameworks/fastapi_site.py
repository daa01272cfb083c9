"""A site on FastAPI."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from events import note
from fastapi import (
    BackgroundTasks,
    Body,
    FastAPI,
    Form,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from frameworks import shared

site = shared.Site()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    site.start()
    yield {"made_at_startup": "ready"}
    site.stop()


app = FastAPI(lifespan=lifespan)
app.mount("/static", StaticFiles(directory=shared.static_folder()))


@app.get("/plain", response_class=PlainTextResponse)
async def plain() -> str:
    return "hello"


@app.get("/items/{id}")
async def item(id: int, q: str) -> dict[str, object]:
    return {"id": id, "q": q}


@app.post("/json")
async def json_echo(got: Annotated[Any, Body()]) -> dict[str, object]:
    return {"got": got}


@app.post("/form")
async def form(name: Annotated[str, Form()], age: Annotated[str, Form()]) -> dict[str, str]:
    return {"name": name, "age": age}


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, object]:
    return shared.described(file.filename or "", await file.read())


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(shared.pieces(), media_type="text/plain")


@app.get("/endless")
async def endless() -> StreamingResponse:
    return StreamingResponse(shared.endless())


@app.get("/broken")
async def broken() -> StreamingResponse:
    return StreamingResponse(shared.broken())


@app.post("/count")
async def count(request: Request) -> dict[str, int]:
    sizes = []
    try:
        async for piece in request.stream():
            sizes.append(len(piece))
    except ClientDisconnect:
        note("upload abandoned")
        raise
    return shared.counted(size for size in sizes if size)


@app.get("/background", response_class=PlainTextResponse)
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(note, "background done")
    return "answered"


@app.get("/state", response_class=PlainTextResponse)
async def state(request: Request) -> str:
    return str(request.state.made_at_startup)


@app.get("/fail")
async def fail() -> None:
    raise RuntimeError("failed on purpose")


@app.get("/cookies")
async def cookies(request: Request, response: Response) -> dict[str, str]:
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return request.cookies


@app.get("/redirect")
async def redirect() -> RedirectResponse:
    return RedirectResponse("/plain")


@app.get("/thread", response_class=PlainTextResponse)
def in_thread() -> str:
    return shared.thread_name()


@app.get("/context", response_class=PlainTextResponse)
async def context(value: str) -> str:
    return await shared.kept_in_context(value)


@app.get("/together")
async def together(n: int) -> int:
    return await site.together(n)


@app.websocket("/ws/echo")
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


@app.websocket("/ws/protocol")
async def protocol(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await websocket.send_text("spoken")
    await websocket.close(4001, "as asked")


@app.websocket("/ws/reject")
async def reject(websocket: WebSocket) -> None:
    await websocket.close()


@app.websocket("/ws/crash")
async def crash(websocket: WebSocket) -> None:
    await websocket.accept()
    raise RuntimeError("websocket failed on purpose")
