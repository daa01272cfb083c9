"""From `worker_class` and `logger_class` to classes."""

import importlib.metadata
import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from monoceros.config import Config
from monoceros.config.classes import load_logger_class, load_worker_class, stands_for_uvicorn
from monoceros.errors import ConfigError
from monoceros.logging import Logger


class Sync:
    pass


class Thread:
    pass


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the worker classes, which need the engine."""
    for module_name, class_name, stand_in in (
        ("monoceros.workers.sync", "SyncWorker", Sync),
        ("monoceros.workers.gthread", "ThreadWorker", Thread),
    ):
        module = ModuleType(module_name)
        setattr(module, class_name, stand_in)
        monkeypatch.setitem(sys.modules, module_name, module)


@pytest.mark.parametrize("name", ["UvicornWorker", "UvicornH11Worker"])
@pytest.mark.parametrize("module", ["uvicorn.workers", "uvicorn_worker"])
class TestUvicorn:
    """Its names are its own classes, or ours where it is not there."""

    def test_installed(self, module: str, name: str) -> None:
        pytest.importorskip("uvicorn_worker")
        assert not stands_for_uvicorn(f"{module}.{name}")

    @pytest.mark.parametrize("missing", ["uvicorn", "uvicorn_worker"])
    def test_not_installed(
        self, module: str, name: str, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, missing, None)
        needed = missing in ("uvicorn", module.partition(".")[0])
        assert stands_for_uvicorn(f"{module}.{name}") is needed
        if needed:
            assert load_worker_class(f"{module}.{name}").__name__ == "ASGIWorker"


def test_the_interface_decides_where_no_class_is_set(cfg: Config) -> None:
    assert cfg.app_decides
    cfg.set("interface", "asgi")
    assert not cfg.app_decides
    assert (cfg.worker_class.__name__, cfg.worker_class_str) == ("ASGIWorker", "asgi")
    cfg.set("threads", 4)
    assert cfg.worker_class.__name__ == "ASGIWorker"
    cfg.set("worker_class", "sync")
    with pytest.raises(ConfigError, match="set one of them only"):
        cfg.validate()


def test_a_class_that_is_set_to_the_default_is_set(cfg: Config) -> None:
    cfg.set("worker_class", "sync")
    assert not cfg.app_decides
    cfg.set("interface", "wsgi")
    cfg.validate()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_aliases_are_worker_classes() -> None:
    from monoceros.workers.base import Worker

    assert issubclass(load_worker_class("sync"), Worker)
    assert issubclass(load_worker_class("gthread"), Worker)
    assert load_worker_class("sync").__name__ == "SyncWorker"
    assert load_worker_class("gthread").__name__ == "ThreadWorker"


@pytest.mark.usefixtures("workers")
class TestAliases:
    @pytest.mark.parametrize(
        ("uri", "threads", "loaded", "text"),
        [
            ("sync", 1, Sync, "sync"),
            ("sync", 2, Thread, "gthread"),
            ("gthread", 1, Thread, "gthread"),
            ("gthread", 2, Thread, "gthread"),
            ("gunicorn.workers.sync.SyncWorker", 1, Sync, "gunicorn.workers.sync.SyncWorker"),
            ("gunicorn.workers.sync.SyncWorker", 2, Thread, "gthread"),
            ("monoceros.workers.sync.SyncWorker", 2, Thread, "gthread"),
            (
                "gunicorn.workers.gthread.ThreadWorker",
                1,
                Thread,
                "gunicorn.workers.gthread.ThreadWorker",
            ),
            (Sync, 2, Sync, "Sync"),
        ],
    )
    def test_threads_turn_sync_into_gthread(
        self, cfg: Config, uri: Any, threads: int, loaded: type, text: str
    ) -> None:
        cfg.set("worker_class", uri)
        cfg.set("threads", threads)
        assert cfg.worker_class is loaded
        assert cfg.worker_class_str == text

    def test_the_sync_class_itself_counts_as_sync(self, cfg: Config) -> None:
        named = {"__module__": "monoceros.workers.sync", "__qualname__": "SyncWorker"}
        cfg.set("worker_class", type("SyncWorker", (), named))
        cfg.set("threads", 2)
        assert cfg.worker_class is Thread


@pytest.mark.parametrize(
    "name",
    [
        "eventlet",
        "gunicorn.workers.geventlet.EventletWorker",
    ],
)
def test_classes_that_are_not_there_yet_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"this release has no worker class '{name}'"):
        load_worker_class(name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gevent", "GeventWorker"),
        ("gunicorn.workers.ggevent.GeventWorker", "GeventWorker"),
        ("gevent_wsgi", "GeventPyWSGIWorker"),
        ("gevent_pywsgi", "GeventPyWSGIWorker"),
        ("gunicorn.workers.ggevent.GeventPyWSGIWorker", "GeventPyWSGIWorker"),
        ("tornado", "TornadoWorker"),
        ("gunicorn.workers.gtornado.TornadoWorker", "TornadoWorker"),
    ],
)
def test_classes_that_come_with_an_extra(name: str, found: str) -> None:
    assert load_worker_class(name).__name__ == found


@pytest.mark.parametrize(
    ("name", "package"),
    [("gevent", "gevent"), ("gevent_pywsgi", "gevent"), ("tornado", "tornado")],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    for module in [each for each in sys.modules if each.startswith("monoceros.workers.g")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    wanted = re.escape(
        f"worker class {name!r} needs the package {package}: pip install 'monoceros[{package}]'"
    )
    with pytest.raises(ConfigError, match=wanted):
        load_worker_class(name)


def test_another_server_on_gevent_is_sent_to_its_base() -> None:
    worker_class = load_worker_class("gevent")
    own = type("Own", (worker_class,), {"server_class": object, "__module__": "mine"})
    with pytest.raises(ConfigError, match=r"mine\.Own names a server_class: derive it from Gevent"):
        own.check_config(Config(), logging.getLogger("tests"))


@pytest.mark.parametrize("name", ["simple", "gunicorn.glogging.Logger", "monoceros.logging.Logger"])
def test_logger_names(name: str) -> None:
    assert load_logger_class(name) is Logger


class TestPaths:
    @pytest.mark.parametrize("uri", ["shop.Worker", "shop:Worker", "shop:Outer.Worker"])
    def test_a_class_is_found(self, uri: str, project: Path) -> None:
        (project / "shop.py").write_text(
            "class Worker:\n    pass\nclass Outer:\n    Worker = Worker\n"
        )
        sys.modules.pop("shop", None)
        assert load_worker_class(uri).__name__ == "Worker"
        sys.modules.pop("shop", None)

    @pytest.mark.parametrize(
        ("uri", "reason"),
        [
            ("nope", "neither an alias nor a dotted path"),
            ("#nope", "neither an alias nor a dotted path"),
            ("no_such_module.Worker", "there is no module 'no_such_module'"),
            ("os.no_such_module.Worker", "there is no module 'os.no_such_module'"),
            ("os.path.NoSuchClass", "module 'os.path' has no 'NoSuchClass'"),
            ("os.path.join", "is no class"),
            (".Worker", "it is no dotted path"),
            ("os.", "it is no dotted path"),
            ("egg:nothing#main", "neither an alias"),
        ],
    )
    def test_what_is_not_there_is_one_line(self, uri: str, reason: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_worker_class(uri)
        message = str(caught.value)
        assert message.startswith(f"class uri {uri!r} invalid or not found: ")
        assert reason in message
        assert "\n" not in message

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
            ("1/0", "ZeroDivisionError: division by zero"),
            ("def (", "SyntaxError: "),
            ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ],
    )
    def test_a_module_that_fails_is_named_with_its_error(
        self, source: str, reason: str, project: Path
    ) -> None:
        (project / "broken_worker.py").write_text(source)
        with pytest.raises(ConfigError) as caught:
            load_worker_class("broken_worker.Worker")
        message = str(caught.value)
        assert "module 'broken_worker' cannot be imported: " in message
        assert reason in message
        assert "\n" not in message

    def test_a_class_of_an_installed_gunicorn_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = type("Worker", (), {"__module__": "gunicorn.workers.base"})
        module = ModuleType("third_party")
        module.Worker = type("Worker", (base,), {"__module__": "third_party"})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "third_party", module)
        with pytest.raises(ConfigError, match=r"derives from gunicorn\.workers\.base\.Worker"):
            load_worker_class("third_party.Worker")


class TestEntryPoints:
    @pytest.fixture
    def entry_points(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lookup(group: str, name: str) -> list[importlib.metadata.EntryPoint]:
            known = [
                importlib.metadata.EntryPoint("own", "fractions:Fraction", "monoceros.workers"),
                importlib.metadata.EntryPoint("both", "fractions:Fraction", "gunicorn.workers"),
                importlib.metadata.EntryPoint("peer", "gunicorn.x:Worker", "gunicorn.workers"),
                importlib.metadata.EntryPoint("broken", "no_such:Worker", "monoceros.workers"),
            ]
            return [entry for entry in known if (entry.group, entry.name) == (group, name)]

        monkeypatch.setattr(importlib.metadata, "entry_points", lookup)

    @pytest.mark.usefixtures("entry_points")
    def test_names_of_both_groups(self) -> None:
        assert load_worker_class("own").__name__ == "Fraction"
        assert load_worker_class("#both").__name__ == "Fraction"

    @pytest.mark.usefixtures("entry_points")
    def test_gunicorns_own_are_not_taken(self) -> None:
        with pytest.raises(ConfigError, match="neither an alias"):
            load_worker_class("peer")

    @pytest.mark.usefixtures("entry_points")
    def test_a_broken_one_is_named(self) -> None:
        with pytest.raises(ConfigError, match="'no_such' cannot be imported"):
            load_worker_class("broken")


def test_importing_the_configuration_imports_no_worker() -> None:
    import subprocess

    code = "import sys, monoceros.cli; print([m for m in sys.modules if 'workers' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
