"""From the text of `worker_class` and `logger_class` to the class.

A text is an alias, the dotted path of a class (MODULE.CLASS or MODULE:CLASS), the name of an entry
point, or egg:DISTRIBUTION#NAME for the entry point of one distribution. Modules are imported here
and not earlier: what a deployment does not use it does not pay for.

Names that Gunicorn's own classes have mean ours. They never load an installed Gunicorn, whose
classes cannot work with this arbiter.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from monoceros.errors import ConfigError

WORKER_GROUPS = ("monoceros.workers", "gunicorn.workers")
LOGGER_GROUPS = ("monoceros.loggers", "gunicorn.loggers")

SYNC_WORKER = "monoceros.workers.sync.SyncWorker"
THREAD_WORKER = "monoceros.workers.gthread.ThreadWorker"
GEVENT_WORKER = "monoceros.workers.ggevent.GeventWorker"
GEVENT_PYWSGI_WORKER = "monoceros.workers.gevent_pywsgi.GeventPyWSGIWorker"
TORNADO_WORKER = "monoceros.workers.gtornado.TornadoWorker"
ASGI_WORKER = "monoceros.workers.gasgi.ASGIWorker"

WORKER_ALIASES: Mapping[str, str] = {
    "sync": SYNC_WORKER,
    "gthread": THREAD_WORKER,
    "gevent": GEVENT_WORKER,
    "gevent_wsgi": GEVENT_PYWSGI_WORKER,
    "gevent_pywsgi": GEVENT_PYWSGI_WORKER,
    "tornado": TORNADO_WORKER,
    "asgi": ASGI_WORKER,
    "gunicorn.workers.sync.SyncWorker": SYNC_WORKER,
    "gunicorn.workers.gthread.ThreadWorker": THREAD_WORKER,
    "gunicorn.workers.ggevent.GeventWorker": GEVENT_WORKER,
    "gunicorn.workers.ggevent.GeventPyWSGIWorker": GEVENT_PYWSGI_WORKER,
    "gunicorn.workers.gtornado.TornadoWorker": TORNADO_WORKER,
    "gunicorn.workers.gasgi.ASGIWorker": ASGI_WORKER,
}

PLAIN_LOGGER = "monoceros.logging.Logger"
STATSD_LOGGER = "monoceros.logging.statsd.Statsd"

LOGGER_ALIASES: Mapping[str, str] = {
    "simple": PLAIN_LOGGER,
    "gunicorn.glogging.Logger": PLAIN_LOGGER,
    "gunicorn.instrument.statsd.Statsd": STATSD_LOGGER,
}

#: Packages that come with an extra of this distribution, for the worker classes that need them.
EXTRAS = ("gevent", "tornado")

#: Gunicorn's worker classes that this release has not got, with what serves the same apps.
MISSING_WORKERS: Mapping[str, str] = {
    "eventlet": "gevent",
    "gunicorn.workers.geventlet.EventletWorker": "gevent",
}

#: Uvicorn's worker classes, by the package that has them. Where it is installed they are its own;
#: where it is not, deployments that name them mean that their app is an ASGI app.
UVICORN_WORKERS: Mapping[str, str] = {
    f"{module}.{name}": module.partition(".")[0]
    for module in ("uvicorn.workers", "uvicorn_worker")
    for name in ("UvicornWorker", "UvicornH11Worker")
}


def is_sync(uri: Any) -> bool:
    """Whether a worker class, as it was set, is the one that `threads` turns into gthread."""
    if inspect.isclass(uri):
        return f"{uri.__module__}.{uri.__qualname__}" == SYNC_WORKER
    return bool(WORKER_ALIASES.get(uri, uri) == SYNC_WORKER)


def stands_for_uvicorn(uri: Any) -> bool:
    """Whether `uri` names a worker class of uvicorn's that is not installed: ours is used."""
    if not isinstance(uri, str) or uri.replace(":", ".") not in UVICORN_WORKERS:
        return False
    # With only one of the two packages, a class of the other is not there either.
    needed = {UVICORN_WORKERS[uri.replace(":", ".")], "uvicorn"}
    return any(importlib.util.find_spec(package) is None for package in needed)


def load_worker_class(uri: Any) -> type[Any]:
    """The worker class that `uri` is or names. Raises ConfigError with one line."""
    if isinstance(uri, str) and uri in MISSING_WORKERS:
        instead = MISSING_WORKERS[uri]
        raise ConfigError(f"this release has no worker class {uri!r}; use {instead!r}")
    if stands_for_uvicorn(uri):
        uri = ASGI_WORKER
    found = load_class(uri, WORKER_ALIASES, WORKER_GROUPS)
    _refuse_gunicorns_own(uri, found)
    return found


def load_logger_class(uri: Any) -> type[Any]:
    """The logger class that `uri` is or names. Raises ConfigError with one line."""
    return load_class(uri, LOGGER_ALIASES, LOGGER_GROUPS)


def logger_with_metrics(uri: Any) -> Any:
    """What `logger_class` becomes when `statsd_host` is set: a default one learns to send."""
    return STATSD_LOGGER if uri in (PLAIN_LOGGER, "gunicorn.glogging.Logger") else uri


def load_class(uri: Any, aliases: Mapping[str, str], groups: Sequence[str]) -> type[Any]:
    """The class that `uri` is or names. Raises ConfigError with one line."""
    if inspect.isclass(uri):
        return uri
    if uri.startswith("egg:"):
        distribution, _, name = uri.removeprefix("egg:").partition("#")
        found = _load_entry_point(uri, groups, name or "main", distribution)
    else:
        path = aliases.get(uri, uri.lstrip("#"))
        if "." in path or ":" in path:
            found = _load_path(uri, path)
        else:
            found = _load_entry_point(uri, groups, path, None)
    if not inspect.isclass(found):
        raise _not_found(uri, f"{found!r} is no class")
    return found


def _load_path(uri: str, path: str) -> Any:
    module_name, separator, name = path.rpartition(":" if ":" in path else ".")
    if not separator or not module_name or not name:
        raise _not_found(uri, "it is no dotted path")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Its own import failing and an import in it failing are two different mistakes.
        extra = (error.name or "").partition(".")[0]
        if module_name.startswith("monoceros.workers.") and extra in EXTRAS:
            raise ConfigError(
                f"worker class {uri!r} needs the package {extra}: pip install 'monoceros[{extra}]'"
            ) from error
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise _not_found(uri, f"there is no module {error.name!r}") from error
        raise _import_failed(uri, module_name, error) from error
    except Exception as error:
        raise _import_failed(uri, module_name, error) from error
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise _not_found(uri, f"module {module_name!r} has no {name!r}") from error
    return found


def _load_entry_point(uri: str, groups: Sequence[str], name: str, distribution: str | None) -> Any:
    # Costs more to import than all the rest of the configuration, and is seldom wanted.
    import importlib.metadata

    for group in groups:
        for entry_point in importlib.metadata.entry_points(group=group, name=name):
            if distribution and (not entry_point.dist or entry_point.dist.name != distribution):
                continue
            if entry_point.value.startswith("gunicorn."):
                continue  # an installed Gunicorn's own
            try:
                return entry_point.load()
            except Exception as error:
                raise _import_failed(uri, entry_point.module, error) from error
    raise _not_found(uri, "it is neither an alias nor a dotted path")


def _refuse_gunicorns_own(uri: Any, found: type[Any]) -> None:
    for base in found.__mro__:
        if base.__module__.startswith("gunicorn."):
            raise ConfigError(
                f"worker class {uri!r} derives from {base.__module__}.{base.__qualname__} of an "
                "installed Gunicorn and cannot run here; derive it from "
                "monoceros.workers.base.Worker"
            )


def _not_found(uri: Any, reason: str) -> ConfigError:
    return ConfigError(f"class uri {uri!r} invalid or not found: {reason}")


def _import_failed(uri: str, module_name: str, error: BaseException) -> ConfigError:
    reason = " ".join(str(error).split())
    return ConfigError(
        f"class uri {uri!r} invalid or not found: module {module_name!r} cannot be imported: "
        f"{type(error).__name__}: {reason}"
    )
