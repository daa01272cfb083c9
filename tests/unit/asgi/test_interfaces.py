"""What an app is, told by looking at it."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from monoceros.asgi.interfaces import Kind, kind_of, refuse_what_nobody_serves
from monoceros.errors import AppImportError


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


def asgi_2(scope: Any) -> Any: ...


def anything(*arguments: Any) -> Any: ...


def wsgi_with_more(environ: Any, start_response: Any, site: Any = None) -> Any: ...


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return wrapper


def made_wsgi(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(environ: Any, start_response: Any) -> Any: ...

    return wrapper


class Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class OfInstance:
    """As Sentry's middleware is: each instance has its own."""

    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = asgi


class Endpoint:
    """As Starlette's endpoints are: made anew for each request, and awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...
    def __await__(self) -> Any:
        yield


class WsgiClass:
    """PEP 3333's example: made anew for each request, and iterated over."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...
    def __iter__(self) -> Any: ...


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...
    async def __call__(self, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "kind"),
    [
        (asgi, Kind.ASGI),
        (Asgi(), Kind.ASGI),
        (Asgi().__call__, Kind.ASGI),
        (OfInstance(), Kind.ASGI),
        (Endpoint, Kind.ASGI),
        (returns_a_coroutine, Kind.ASGI),
        (functools.partial(asgi, send=None), Kind.ASGI),
        (functools.partial(Asgi()), Kind.ASGI),
        (functools.partial(functools.partial(decorated(asgi))), Kind.ASGI),
        (decorated(asgi), Kind.ASGI),
        (decorated(returns_a_coroutine), Kind.ASGI),
        (wsgi, Kind.WSGI),
        (Wsgi(), Kind.WSGI),
        (WsgiClass, Kind.WSGI),
        (wsgi_with_more, Kind.WSGI),
        (functools.partial(wsgi_with_more, site=1), Kind.WSGI),
        (decorated(wsgi), Kind.WSGI),
        (made_wsgi(asgi), Kind.WSGI),
        (anything, Kind.UNKNOWN),
        (print, Kind.UNKNOWN),
        (asgi_2, Kind.ASGI_2),
        (Asgi2Class, Kind.ASGI_2),
        (Asgi, Kind.CLASS),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_kinds(app: Any, kind: Kind) -> None:
    assert kind_of(app) is kind


def test_frameworks() -> None:
    django = pytest.importorskip("django.core.handlers.asgi")
    flask = pytest.importorskip("flask")
    assert kind_of(django.ASGIHandler.__new__(django.ASGIHandler)) is Kind.ASGI
    assert kind_of(flask.Flask("site")) is Kind.WSGI


def test_middlewares_of_sentry_and_opentelemetry() -> None:
    sentry = pytest.importorskip("sentry_sdk.integrations.asgi")
    assert kind_of(sentry.SentryAsgiMiddleware(asgi)) is Kind.ASGI


@pytest.mark.parametrize(
    ("app", "hint"),
    [(asgi_2, "guarantee_single_callable"), (Asgi2Class, "single_callable"), (Asgi, "Asgi()")],
)
def test_what_nobody_serves_is_refused_with_the_way_out(app: Any, hint: str) -> None:
    with pytest.raises(AppImportError) as caught:
        refuse_what_nobody_serves(kind_of(app), app)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
