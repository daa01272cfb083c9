"""Gunicorn's names, for code that imports them.

This folder stands first on `sys.path` of every process of a server, so that ``import gunicorn``
finds the package beside this file: worker classes, hooks, config files and logger classes that
were written for Gunicorn run unchanged. An installed Gunicorn never wins there, because its classes
cannot work with this arbiter. The file `METADATA` beside the package answers what
`importlib.metadata` is asked about Gunicorn's version.

Rules for the package:
- its modules are imported as `gunicorn.…` only, never as `monoceros.compat.gunicorn.…`: they would
  be there twice;
- a name is ours under another name wherever we have the thing; what is defined in the package is
  there for others' code only, and nothing of ours imports it;
- a name without meaning here raises ImportError, with what to use instead.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

#: The folder in which ``import gunicorn`` finds our package.
FOLDER = str(Path(__file__).parent)


def install() -> None:
    """Make ``import gunicorn`` mean our package in this process and in all that it forks.

    Done before the first code of the operator's runs. Where an installed Gunicorn has been
    imported already its modules are let go of; objects that were taken from them stay what they
    are.
    """
    if FOLDER in sys.path:
        sys.path.remove(FOLDER)
    sys.path.insert(0, FOLDER)
    if not is_ours(sys.modules.get("gunicorn")):
        for name in [name for name in sys.modules if name.partition(".")[0] == "gunicorn"]:
            del sys.modules[name]
        # Folders that come before ours later, as that of `chdir`, cannot take its place any more.
        importlib.invalidate_caches()
        importlib.import_module("gunicorn")


def is_ours(module: Any) -> bool:
    """Whether a module `gunicorn` is the one beside this file."""
    folders = list(getattr(module, "__path__", ()))
    return bool(folders) and folders[0] == str(Path(FOLDER) / "gunicorn")


def conflict(package: Path) -> str | None:
    """Why `package` cannot be the folder that `monoceros-gunicorn` installs: files of a real
    Gunicorn lie there. None where they do not."""
    real = [package / "arbiter.py", *package.parent.glob("gunicorn-*.dist-info")]
    if package == Path(FOLDER) / "gunicorn" or not any(path.exists() for path in real):
        return None
    return (
        f"both monoceros-gunicorn and gunicorn are installed in {package.parent}, and each has "
        "overwritten files of the other: run `pip uninstall gunicorn monoceros-gunicorn`, then "
        "install the one that you want"
    )


def server_names() -> tuple[str, str]:
    """The server's name for clients and for apps: Server ("" for none) and SERVER_SOFTWARE.

    A config file may have replaced ``gunicorn.SERVER``, ``gunicorn.SERVER_SOFTWARE`` or
    ``gunicorn.http.wsgi.Response``, which is how a Gunicorn is made to tell less of itself.

    Raises ConfigError when the class that stands for the last one wants more.
    """
    from monoceros import SERVER, SERVER_SOFTWARE

    package = sys.modules.get("gunicorn")
    if not is_ours(package):
        return SERVER, SERVER_SOFTWARE
    responses = sys.modules.get("gunicorn.http.wsgi")
    return (
        str(responses.server_field() if responses else getattr(package, "SERVER", SERVER)),
        str(getattr(package, "SERVER_SOFTWARE", SERVER_SOFTWARE)),
    )


def absent(module: str, names: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module some of whose names are not here; says what to use instead.

    Raises ImportError for them, because the text of an AttributeError is lost in an import
    statement, and AttributeError for any other name.
    """

    def lookup(name: str) -> NoReturn:
        if name in names:
            raise ImportError(f"Monoceros has no {module}.{name}: {names[name]}", name=module)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return lookup


def forward(*ours: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module all of whose names are those of our modules `ours`, the first
    one's first.

    Raises ImportError where one of them cannot be imported.
    """
    first, *others = ours
    module = importlib.import_module(first)

    def lookup(name: str) -> Any:
        if not hasattr(module, name) and not name.startswith("__"):
            for other in map(importlib.import_module, others):
                if hasattr(other, name):
                    return getattr(other, name)
        return getattr(module, name)

    return lookup
