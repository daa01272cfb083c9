"""From an app's URI to the app.

    MODULE                            the object `application` of the module
    MODULE:NAME                       another one
    MODULE:NAME.NAME                  an attribute of one
    MODULE:NAME("literal", key=1)     what a factory returns; NAME may be dotted here too

Nothing else of Python's syntax is understood: a URI comes from command lines and environment
variables and is no place for code.

What goes wrong in the app's own code passes through unchanged. What is wrong with the URI is an
AppImportError with one line that says so.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monoceros.errors import AppImportError

DEFAULT_OBJECT = "application"


def import_app(uri: str) -> Callable[..., Any]:
    """The app that `uri` names.

    Raises AppImportError when the module holds no such app, and whatever importing the module
    raises.
    """
    module_name, colon, expression = uri.partition(":")
    path, arguments = _parse(expression if colon else DEFAULT_OBJECT)
    module = _import_module(module_name, expression if colon else DEFAULT_OBJECT)
    found: Any = module
    for position, name in enumerate(path):
        try:
            found = getattr(found, name)
        except AttributeError:
            owner = ".".join([module_name, *path[:position]])
            raise AppImportError(f"Failed to find attribute {name!r} in {owner!r}.") from None
    if arguments is not None:
        found = _call_factory(found, ".".join(path), module_name, *arguments)
    if found is None:
        raise AppImportError(f"Failed to find application object: {uri!r} is None.")
    if not callable(found):
        raise AppImportError(
            f"Application object must be callable, and {uri!r} is {type(found).__name__!r}."
        )
    return found  # type: ignore[no-any-return]


def _import_module(name: str, expression: str) -> Any:
    if not name:
        raise AppImportError("Failed to find application: the name of its module is missing.")
    try:
        if name.startswith("."):
            raise ImportError(f"Failed to find application: {name!r} is no name of a module.")
        return importlib.import_module(name)
    except ImportError:
        if name.endswith(".py") and Path(name).exists():
            stem = name.removesuffix(".py").removeprefix("./").replace("/", ".")
            raise ImportError(
                f"Failed to find application, did you mean '{stem}:{expression}'?"
            ) from None
        raise


def _parse(expression: str) -> tuple[list[str], tuple[list[Any], dict[str, Any]] | None]:
    """The dotted name as a list, and a factory's arguments or None where nothing is called."""
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise AppImportError(
            f"Failed to parse {expression!r} as a name of an object or a call of a function."
        ) from None
    if not isinstance(node, ast.Call):
        return _dotted(node, expression), None
    path = _dotted(node.func, expression)
    if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    ):
        raise AppImportError(f"Arguments can not be unpacked in {expression!r}.")
    try:
        positional = [ast.literal_eval(argument) for argument in node.args]
        named = {str(item.arg): ast.literal_eval(item.value) for item in node.keywords}
    except (ValueError, TypeError, SyntaxError):
        raise AppImportError(f"Arguments must be literal values in {expression!r}.") from None
    return path, (positional, named)


def _dotted(node: ast.expr, expression: str) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise AppImportError(f"Object must be a name or a call of one, and {expression!r} is not.")
    return [node.id, *reversed(names)]


def _call_factory(
    factory: Any, name: str, module_name: str, positional: list[Any], named: dict[str, Any]
) -> Any:
    if not callable(factory):
        raise AppImportError(f"{name!r} in {module_name!r} is not callable.")
    try:
        return factory(*positional, **named)
    except TypeError as error:
        # A TypeError of the call itself has no frame beyond this one; the factory's own has.
        traceback = sys.exc_info()[2]
        if traceback is not None and traceback.tb_next is None:
            raise AppImportError(
                f"Failed to call factory {name!r} in {module_name!r}: {error}"
            ) from None
        raise
