"""An ASGI app for what apps do with their event loop, beside answering."""

import asyncio
import contextlib
import contextvars
import os
import socket
import sys
import threading
import time

import asgi_probes
from asgi_probes import Receive, Scope, Send, answer, answer_json, query, wait_for_gate
from events import note

_value = contextvars.ContextVar("_value", default="unset")
_kept: set[asyncio.Task[None]] = set()
_routes: dict[str, asgi_probes.App] = {}


def route(path: str):  # type: ignore[no-untyped-def]
    def register(function: asgi_probes.App) -> asgi_probes.App:
        _routes[path] = function
        return function

    return register


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        _value.set("the lifespan's")
    handler = _routes.get(scope["path"]) if scope["type"] == "http" else None
    await (handler or asgi_probes.app)(scope, receive, send)


@route("/loop")
async def loop_name(scope: Scope, receive: Receive, send: Send) -> None:
    """Where the loop's class comes from, whatever the server has derived from it."""
    modules = [each.__module__ for each in type(asyncio.get_running_loop()).__mro__]
    await answer(send, b"uvloop" if "uvloop" in modules else b"asyncio")


@route("/task")
async def task(scope: Scope, receive: Receive, send: Send) -> None:
    """The current task before and after a wait, and whether the loop knows it."""
    first = asyncio.current_task()
    await asyncio.sleep(0)
    second = asyncio.current_task()
    await answer_json(
        send,
        {
            "there": first is not None,
            "same": first is second,
            "is a task": isinstance(first, asyncio.Task),
            "known": first in asyncio.all_tasks(),
            "done": first is not None and first.done(),
            "main thread": threading.current_thread() is threading.main_thread(),
            "running loop": asyncio.get_running_loop() is asyncio.get_event_loop(),
        },
    )


@route("/task-at-once")
async def task_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """The same for an app that never waits."""
    current = asyncio.current_task()
    known = current is not None and current in asyncio.all_tasks()
    await answer_json(send, {"there": current is not None, "known": known})


@route("/contextvars")
async def context(scope: Scope, receive: Receive, send: Send) -> None:
    before = _value.get()
    _value.set(query(scope, "value"))
    for _ in range(3):
        await asyncio.sleep(0.01)
    inherited = await asyncio.create_task(_read_value())
    in_thread = await asyncio.to_thread(_value.get)
    await answer_json(send, [before, _value.get(), inherited, in_thread])


async def _read_value() -> str:
    return _value.get()


@route("/contextvars-at-once")
async def context_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Never waits: what it sets must not be seen by the next one either."""
    before = _value.get()
    _value.set("left behind")
    await answer(send, before.encode())


@route("/timeout")
async def timeout(scope: Scope, receive: Receive, send: Send) -> None:
    """asyncio.timeout, wait_for, and one that is not reached."""
    outcomes = []
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(30)
    except TimeoutError:
        outcomes.append("timeout")
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.05)
    except TimeoutError:
        outcomes.append("wait_for")
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
        outcomes.append("in time")
    try:
        async with asyncio.timeout(0.05):
            await receive()  # the body, which is there
            await receive()  # a disconnect, which does not come
    except TimeoutError:
        outcomes.append("receive")
    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0
    await answer_json(send, outcomes)


@route("/groups")
async def groups(scope: Scope, receive: Receive, send: Send) -> None:
    """gather, a TaskGroup that succeeds, one that fails, shield."""

    async def double(number: int) -> int:
        await asyncio.sleep(0.01)
        return 2 * number

    async def fail() -> None:
        raise ValueError("of a child")

    outcomes: list[object] = [await asyncio.gather(*(double(each) for each in range(5)))]
    async with asyncio.TaskGroup() as group:
        children = [group.create_task(double(each)) for each in range(5)]
    outcomes.append([child.result() for child in children])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(30))
            group.create_task(fail())
    except ExceptionGroup as error:
        outcomes.append(str(error.exceptions[0]))
    shielded = asyncio.create_task(double(21))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(shielded), 0.001)
    outcomes.append(await shielded)
    await answer_json(send, outcomes)


@route("/cancel-self")
async def cancel_self(scope: Scope, receive: Receive, send: Send) -> None:
    """Cancels its own task and takes that back."""
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        current.uncancel()
        await answer(send, b"came back")


@route("/cancelled")
async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
    """Cancels its own task for good."""
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(0)


@route("/threads")
async def threads(scope: Scope, receive: Receive, send: Send) -> None:
    """to_thread, many at a time, and a thread that calls back."""

    def work(number: int) -> int:
        time.sleep(0.01)  # what a blocking call does
        return number

    found = await asyncio.gather(*(asyncio.to_thread(work, each) for each in range(20)))
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(called.set))
    thread.start()
    await asyncio.wait_for(called.wait(), 20)
    thread.join()
    future = asyncio.run_coroutine_threadsafe
    doubled = await asyncio.to_thread(lambda: future(_double(21), loop).result(20))
    await answer_json(send, [sum(found), doubled])


async def _double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@route("/subprocess")
async def subprocess(scope: Scope, receive: Receive, send: Send) -> None:
    """One whose output is read, one that reads its input, one that fails."""
    pipe = asyncio.subprocess.PIPE
    script = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=pipe, stdout=pipe
    )
    out, _ = await process.communicate(b"loud")
    shell = await asyncio.create_subprocess_shell("exit 7")
    await answer_json(send, [out.decode(), process.returncode, await shell.wait()])


@route("/readers")
async def readers(scope: Scope, receive: Receive, send: Send) -> None:
    """Descriptors of the app's own in the loop, and a connection and a server of its own."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    seen = asyncio.Event()
    loop.add_reader(ours, seen.set)
    theirs.send(b"x")
    await asyncio.wait_for(seen.wait(), 20)
    loop.remove_reader(ours)
    writable = asyncio.Event()
    loop.add_writer(ours, writable.set)
    await asyncio.wait_for(writable.wait(), 20)
    loop.remove_writer(ours)
    ours.close()
    theirs.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        line = await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        await writer.wait_closed()
    await answer(send, line)


@route("/background")
async def background(scope: Scope, receive: Receive, send: Send) -> None:
    """Leaves a task behind that goes on when the request is over."""

    async def later() -> None:
        await wait_for_gate()
        note("background done", value=_value.get())

    _value.set("the request's")
    task = asyncio.create_task(later())
    _kept.add(task)
    task.add_done_callback(_kept.discard)
    await answer(send, b"answered")


@route("/work-after")
async def work_after(scope: Scope, receive: Receive, send: Send) -> None:
    """Goes on itself behind its answer, as frameworks run background tasks."""
    await answer(send, b"answered")
    await wait_for_gate()
    note("worked on")


@route("/others-task")
async def others_task(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers from tasks of its own, as middleware does."""

    async def begin() -> None:
        await asgi_probes.start(send)
        await asgi_probes.body(send, b"one,", more=True)

    async def end() -> None:
        await asyncio.sleep(0.01)
        await asgi_probes.body(send, b"two")

    await asyncio.create_task(begin())
    await asyncio.create_task(end())


@route("/listen-and-send")
async def listen_and_send(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends while another task waits in receive(), as frameworks watch for disconnects."""
    await asgi_probes.read(receive)
    listening = asyncio.create_task(receive())  # type: ignore[arg-type]
    await asgi_probes.start(send)
    for _ in range(3):
        await asyncio.sleep(0.01)
        await asgi_probes.body(send, b"piece,", more=True)
    assert not listening.done()
    await asgi_probes.body(send, b"end")
    message = await asyncio.wait_for(listening, 20)
    note("listened", type=message["type"])


@route("/gathered-sends")
async def gathered_sends(scope: Scope, receive: Receive, send: Send) -> None:
    """Many sends at once; all of them arrive, in order."""
    await asgi_probes.start(send)
    sends = [asgi_probes.body(send, b"%05d" % each * 2000, more=True) for each in range(200)]
    await asyncio.gather(*sends)
    await asgi_probes.body(send)


@route("/stuck")
async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    """Never answers; its stack is three coroutines deep."""
    try:
        await _outer()
    except asyncio.CancelledError:
        note("cancelled")
        raise


async def _outer() -> None:
    await _innermost_wait()


async def _innermost_wait() -> None:
    note("waiting")
    await asyncio.Event().wait()


@route("/stuck-started")
async def stuck_started(scope: Scope, receive: Receive, send: Send) -> None:
    await asgi_probes.start(send)
    await asgi_probes.body(send, b"part", more=True)
    await _outer()


@route("/stubborn")
async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not let itself be cancelled at once, and tries to answer afterwards."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        note("cancelled")
    try:
        await answer(send, b"all the same")
    except OSError:
        note("refused")


@route("/pid")
async def pid(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"%d" % os.getpid())
