"""A JSON endpoint as Starlette's users write it."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def greet(request: Request) -> Response:
    """A small document that says what was asked for."""
    return JSONResponse({"message": "Hello, World!", "path": request.url.path, "items": [1, 2, 3]})


app = Starlette(routes=[Route("/", greet)])
