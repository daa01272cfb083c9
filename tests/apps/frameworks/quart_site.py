"""A site on Quart."""

from events import note
from quart import (
    Quart,
    Response,
    current_app,
    jsonify,
    redirect,
    request,
    websocket,
)

from frameworks import shared

site = shared.Site()
app = Quart(__name__, static_folder=str(shared.static_folder()), static_url_path="/static")
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024 * 1024


@app.before_serving
async def start() -> None:
    site.start()
    app.made_at_startup = "ready"


@app.after_serving
async def stop() -> None:
    site.stop()


@app.get("/plain")
async def plain() -> Response:
    return Response("hello", content_type="text/plain")


@app.get("/items/<int:id>")
async def item(id: int) -> Response:
    return jsonify({"id": id, "q": request.args["q"]})


@app.post("/json")
async def json_echo() -> Response:
    return jsonify({"got": await request.get_json()})


@app.post("/form")
async def form() -> Response:
    return jsonify(dict(await request.form))


@app.post("/upload")
async def upload() -> Response:
    file = (await request.files)["file"]
    return jsonify(shared.described(file.filename, file.read()))


@app.get("/stream")
async def stream() -> tuple[object, dict[str, str]]:
    return shared.pieces(), {"Content-Type": "text/plain"}


@app.get("/endless")
async def endless() -> Response:
    response = Response(shared.endless())
    response.timeout = None
    return response


@app.get("/broken")
async def broken() -> object:
    return shared.broken()


@app.post("/count")
async def count() -> Response:
    sizes = [len(piece) async for piece in request.body]
    return jsonify(shared.counted(size for size in sizes if size))


@app.get("/background")
async def background() -> str:
    async def later() -> None:
        note("background done")

    current_app.add_background_task(later)
    return "answered"


@app.get("/state")
async def state() -> str:
    return str(current_app.made_at_startup)


@app.get("/fail")
async def fail() -> str:
    raise RuntimeError("failed on purpose")


@app.get("/cookies")
async def cookies() -> Response:
    response = jsonify(dict(request.cookies))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


@app.get("/redirect")
async def redirected() -> Response:
    return redirect("/plain")


@app.get("/thread")
def in_thread() -> str:
    return shared.thread_name()


@app.get("/context")
async def context() -> str:
    return await shared.kept_in_context(request.args["value"])


@app.get("/together")
async def together() -> Response:
    return jsonify(await site.together(int(request.args["n"])))


@app.websocket("/ws/echo")
async def echo() -> None:
    try:
        while True:
            await websocket.send(await websocket.receive())
    finally:
        # Quart ends the handler's task when the client has left, without the code.
        note("websocket left", code=None)


@app.websocket("/ws/protocol")
async def protocol() -> None:
    await websocket.accept(subprotocol=websocket.requested_subprotocols[-1])
    await websocket.send("spoken")
    await websocket.close(4001, "as asked")


@app.websocket("/ws/reject")
async def reject() -> tuple[str, int]:
    return "refused", 403


@app.websocket("/ws/crash")
async def crash() -> None:
    await websocket.accept()
    raise RuntimeError("websocket failed on purpose")
