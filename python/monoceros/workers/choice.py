"""Which worker class serves an app: decided where the app is loaded, because the arbiter never
does that.

Rules:
- Where neither `worker_class` nor `interface` is set, the app decides. The worker object stays the
  one that hooks have seen, and becomes an ASGIWorker before `post_worker_init`; the scoreboard
  tells the arbiter.
- A class that was named is what is used. An app that does not fit it is refused, with the name of
  the class that fits. Classes of others, without `interface`, are not asked.
- An app of which nothing can be told goes to the class that there is.
"""

from typing import Any, Final

from monoceros.asgi.interfaces import Kind, kind_of, refuse_what_nobody_serves
from monoceros.errors import AppImportError

#: What an app is called where it does not fit.
_NAMES: Final = {Kind.WSGI: "a WSGI app", Kind.ASGI: "an ASGI app"}


def class_for(worker_class: type[Any], cfg: Any, app: Any) -> type[Any]:
    """The worker class that serves `app`: `worker_class`, or the one for ASGI apps.

    Raises AppImportError where neither does.
    """
    served = getattr(worker_class, "interface", None)
    if served is None or getattr(app, "is_broken", False):
        return worker_class
    kind = kind_of(app)
    refuse_what_nobody_serves(kind, app)
    if kind is Kind.UNKNOWN or kind.value == served:
        return worker_class
    if kind is Kind.ASGI and cfg.app_decides:
        # Brings asyncio with it, which a WSGI app need not pay for.
        from monoceros.workers.gasgi import ASGIWorker

        return ASGIWorker
    raise AppImportError(_misfit(kind, cfg, app))


def _misfit(kind: Kind, cfg: Any, app: Any) -> str:
    name = getattr(app, "__qualname__", type(app).__qualname__)
    fitting = "asgi" if kind is Kind.ASGI else "sync or gthread"
    if "worker_class" in cfg.given:
        said = f"worker_class {cfg.worker_class_str!r}"
        way_out = f"use -k {fitting}, or none and let the app decide"
    else:
        said = f"interface = {cfg.interface!r}"
        way_out = f"set it to {kind.value!r}, or to 'auto' and let the app decide"
    return f"The app {name!r} is {_NAMES[kind]}, which {said} does not serve: {way_out}"
