"""Which interface an app has, told by looking at it: nothing of the app is called.

Rules:
- What has to be awaited is ASGI 3, whatever its parameters are.
- Else the parameters count: two are WSGI's, three are ASGI 3's (a plain function may return what
  the app's own coroutine function has returned). Who takes any number may be either: UNKNOWN.
- One parameter called `scope` is ASGI 2, which is refused with the way out; so is a class whose
  instances are apps.
"""

import enum
import functools
import inspect
from collections.abc import Callable
from typing import Any

from monoceros.errors import AppImportError


class Kind(enum.Enum):
    """What an app can be."""

    WSGI = "wsgi"
    ASGI = "asgi"
    ASGI_2 = "asgi2"
    CLASS = "class"
    UNKNOWN = "unknown"


def kind_of(app: Callable[..., Any]) -> Kind:
    """What `app` is."""
    if inspect.isclass(app):
        return _kind_of_class(app)
    # As an attribute, too: a class may give each instance a method of its own (Sentry's does).
    if _is_async(app) or _is_async(getattr(app, "__call__", None)):  # noqa: B004
        return Kind.ASGI
    return _kind_by_parameters(app)


def _kind_of_class(app: type[Any]) -> Kind:
    """Apps that are made anew for each call."""
    if hasattr(app, "__await__"):
        return Kind.ASGI
    call = vars(app).get("__call__") or next(
        (vars(base)["__call__"] for base in app.__mro__ if "__call__" in vars(base)), None
    )
    if not _is_async(call):
        return _kind_by_parameters(app)
    kind = _kind_by_parameters(app)
    return kind if kind is Kind.ASGI_2 else Kind.CLASS


def _is_async(function: Any) -> bool:
    """Whether calling it makes a coroutine, looking through partial() and decorators."""
    if function is None:
        return False
    if inspect.iscoroutinefunction(function):
        return True
    while isinstance(function, functools.partial):
        function = function.func
    try:
        inner = inspect.unwrap(function)
    except ValueError:  # a loop of __wrapped__
        return False
    if not inspect.iscoroutinefunction(inner):
        return False
    # A decorator that makes a WSGI app of a coroutine function says so by its own parameters.
    try:
        own = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return False
    return not _binds(own, 2) or _binds(own, 3)


def _kind_by_parameters(app: Callable[..., Any]) -> Kind:
    try:
        signature = inspect.signature(app, follow_wrapped=False)
        if _takes_any(signature):  # a decorator's, which stands for what it decorates
            signature = inspect.signature(app)
    except (TypeError, ValueError):  # a builtin that does not tell
        return Kind.UNKNOWN
    two, three = _binds(signature, 2), _binds(signature, 3)
    if two and three:
        return Kind.UNKNOWN if _takes_any(signature) else Kind.WSGI
    if two:
        return Kind.WSGI
    if three:
        return Kind.ASGI
    if _binds(signature, 1) and next(iter(signature.parameters)) == "scope":
        return Kind.ASGI_2
    return Kind.UNKNOWN


def _takes_any(signature: inspect.Signature) -> bool:
    return any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values())


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def refuse_what_nobody_serves(kind: Kind, app: Any) -> None:
    """Raises AppImportError for apps that no worker class serves."""
    name = getattr(app, "__qualname__", type(app).__qualname__)
    if kind is Kind.ASGI_2:
        raise AppImportError(
            f"The app {name!r} is an ASGI 2 app, called with the scope alone, and only ASGI 3 is "
            "served: wrap it in asgiref.compatibility.guarantee_single_callable"
        )
    if kind is Kind.CLASS:
        raise AppImportError(
            f"The app {name!r} is a class whose instances are ASGI apps: name an instance, "
            f"or let the server make one with {name}()"
        )
