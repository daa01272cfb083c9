"""A site on Django, as its ASGI handler serves it.

Django has neither a lifespan nor WebSockets: its handler raises for both, and a server has to
take that as an answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.static import serve
from events import note

from frameworks import shared

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    # Beside Django's own configuration, which with DEBUG off mails errors and does nothing else.
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"]},
    },
)
site = shared.Site()
ready = "ready"
tasks: set[asyncio.Task[None]] = set()


async def plain(request: ASGIRequest) -> HttpResponse:
    return HttpResponse("hello", content_type="text/plain")


async def item(request: ASGIRequest, id: int) -> HttpResponse:
    return JsonResponse({"id": id, "q": request.GET["q"]})


async def json_echo(request: ASGIRequest) -> HttpResponse:
    return JsonResponse({"got": json.loads(request.body)})


async def form(request: ASGIRequest) -> HttpResponse:
    return JsonResponse(request.POST.dict())


async def upload(request: ASGIRequest) -> HttpResponse:
    file = request.FILES["file"]
    return JsonResponse(shared.described(file.name, file.read()))


async def stream(request: ASGIRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(shared.pieces(), content_type="text/plain")


async def endless(request: ASGIRequest) -> StreamingHttpResponse:
    # Django cancels the task that sends, and leaves the generator to the garbage collector: so it
    # is the task's end that is told.
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: note("stream over"))
    return StreamingHttpResponse(shared.ticks())


async def broken(request: ASGIRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(shared.broken())


async def count(request: ASGIRequest) -> HttpResponse:
    # Django reads a body before its view runs; the view reads it in pieces again.
    sizes = []
    while piece := request.read(65_536):
        sizes.append(len(piece))
    return JsonResponse(shared.counted(sizes))


async def background(request: ASGIRequest) -> HttpResponse:
    async def later() -> None:
        await asyncio.sleep(0)
        note("background done")

    task = asyncio.create_task(later())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return HttpResponse("answered")


async def state(request: ASGIRequest) -> HttpResponse:
    return HttpResponse(ready)


async def fail(request: ASGIRequest) -> HttpResponse:
    raise RuntimeError("failed on purpose")


async def cookies(request: ASGIRequest) -> HttpResponse:
    response = JsonResponse(request.COOKIES)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


async def redirect(request: ASGIRequest) -> HttpResponse:
    return HttpResponseRedirect("/plain")


def in_thread(request: ASGIRequest) -> HttpResponse:
    return HttpResponse(shared.thread_name())


async def context(request: ASGIRequest) -> HttpResponse:
    return HttpResponse(await shared.kept_in_context(request.GET["value"]))


async def together(request: ASGIRequest) -> HttpResponse:
    found = await site.together(int(request.GET["n"]))
    return JsonResponse(found, safe=False)


async def static(request: ASGIRequest, name: str) -> StreamingHttpResponse:
    """Django's static view, with the file read in a thread: its own iterator is synchronous."""
    response = await asyncio.to_thread(serve, request, name, str(shared.static_folder()))
    assert isinstance(response, FileResponse)

    async def blocks() -> AsyncIterator[bytes]:
        with response.file_to_stream as file:
            while block := await asyncio.to_thread(file.read, 65_536):
                yield block

    return StreamingHttpResponse(blocks(), headers=response.headers)


urlpatterns = [
    path("plain", plain),
    path("items/<int:id>", item),
    path("json", json_echo),
    path("form", form),
    path("upload", upload),
    path("stream", stream),
    path("endless", endless),
    path("broken", broken),
    path("count", count),
    path("background", background),
    path("state", state),
    path("fail", fail),
    path("cookies", cookies),
    path("redirect", redirect),
    path("thread", in_thread),
    path("context", context),
    path("together", together),
    path("static/<str:name>", static),
]

django.setup(set_prefix=False)
app = get_asgi_application()
