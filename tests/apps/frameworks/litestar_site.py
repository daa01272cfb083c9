"""A site on Litestar."""

from typing import Annotated, Any

from events import note
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket
from litestar.logging import LoggingConfig
from litestar.params import Body
from litestar.response import Redirect, Stream
from litestar.static_files import create_static_files_router

from frameworks import shared

site = shared.Site()


async def start(app: Litestar) -> None:
    site.start()
    app.state.made_at_startup = "ready"


async def stop(app: Litestar) -> None:
    site.stop()


@get("/plain", media_type=MediaType.TEXT)
async def plain() -> str:
    return "hello"


@get("/items/{id:int}")
async def item(id: int, q: str) -> dict[str, object]:
    return {"id": id, "q": q}


@post("/json", status_code=200)
async def json_echo(request: Request[Any, Any, Any]) -> dict[str, object]:
    return {"got": await request.json()}


@post("/form", status_code=200)
async def form(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> dict[str, str]:
    return data


@post("/upload", status_code=200)
async def upload(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, object]:
    file = data["file"]
    return shared.described(file.filename, await file.read())


@get("/stream")
async def stream() -> Stream:
    return Stream(shared.pieces(), media_type=MediaType.TEXT)


@get("/endless")
async def endless() -> Stream:
    return Stream(shared.endless())


@get("/broken")
async def broken() -> Stream:
    return Stream(shared.broken())


@post("/count", status_code=200)
async def count(request: Request[Any, Any, Any]) -> dict[str, int]:
    sizes = [len(piece) async for piece in request.stream()]
    return shared.counted(size for size in sizes if size)


@get("/background", media_type=MediaType.TEXT)
async def background() -> Response[str]:
    async def later() -> None:
        note("background done")

    return Response("answered", background=BackgroundTask(later))


@get("/state", media_type=MediaType.TEXT)
async def state(state: State) -> str:
    return str(state.made_at_startup)


@get("/fail")
async def fail() -> None:
    raise RuntimeError("failed on purpose")


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    response = Response(dict(request.cookies))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


@get("/redirect")
async def redirect() -> Redirect:
    return Redirect("/plain")


@get("/thread", media_type=MediaType.TEXT, sync_to_thread=True)
def in_thread() -> str:
    return shared.thread_name()


@get("/context", media_type=MediaType.TEXT)
async def context(value: str) -> str:
    return await shared.kept_in_context(value)


@get("/together")
async def together(n: int) -> int:
    return await site.together(n)


@websocket("/ws/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                note("websocket left", code=message["code"])
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        note("websocket left", code=left.code)


@websocket("/ws/protocol")
async def protocol(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(subprotocols=socket.scope["subprotocols"][-1])
    await socket.send_text("spoken")
    await socket.close(4001, "as asked")


@websocket("/ws/reject")
async def reject(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.close()


@websocket("/ws/crash")
async def crash(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    raise RuntimeError("websocket failed on purpose")


app = Litestar(
    on_startup=[start],
    on_shutdown=[stop],
    # It is Litestar that logs what a handler raises; to the root logger's standard error.
    logging_config=LoggingConfig(log_exceptions="always"),
    route_handlers=[
        plain,
        item,
        json_echo,
        form,
        upload,
        stream,
        endless,
        broken,
        count,
        background,
        state,
        fail,
        cookies,
        redirect,
        in_thread,
        context,
        together,
        create_static_files_router(path="/static", directories=[shared.static_folder()]),
        echo,
        protocol,
        reject,
        crash,
    ],
)
