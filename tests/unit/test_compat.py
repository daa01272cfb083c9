"""Gunicorn's names: where they are found, what they are, and what is said of those that are not."""

import ast
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import monoceros.app
import monoceros.arbiter
import monoceros.errors
import monoceros.logging
import monoceros.paste_deploy
import monoceros.workers.base
import monoceros.workers.gthread
import monoceros.workers.sync
from monoceros import _core, compat
from monoceros.config import KNOWN_SETTINGS, Config


def gunicorns() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "gunicorn"]


@pytest.fixture
def gunicorn() -> Iterator[ModuleType]:
    """Our package, in the place of the installed one for the time of the test."""
    path, modules = list(sys.path), {name: sys.modules[name] for name in gunicorns()}
    compat.install()
    yield importlib.import_module("gunicorn")
    for name in gunicorns():
        del sys.modules[name]
    sys.modules.update(modules)
    sys.path[:] = path


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


#: What existing code imports, and what it is here.
NAMES: dict[str, Any] = {
    "gunicorn.app.base.BaseApplication": monoceros.app.BaseApplication,
    "gunicorn.app.base.Application": monoceros.app.Application,
    "gunicorn.app.pasterapp.serve": monoceros.paste_deploy.serve,
    "gunicorn.app.wsgiapp.WSGIApplication": monoceros.app.WSGIApplication,
    "gunicorn.arbiter.Arbiter": monoceros.arbiter.Arbiter,
    "gunicorn.config.Config": Config,
    "gunicorn.config.KNOWN_SETTINGS": KNOWN_SETTINGS,
    "gunicorn.errors.HaltServer": monoceros.errors.HaltServer,
    "gunicorn.errors.ConfigError": monoceros.errors.ConfigError,
    "gunicorn.errors.AppImportError": monoceros.errors.AppImportError,
    "gunicorn.glogging.Logger": monoceros.logging.Logger,
    "gunicorn.glogging.CONFIG_DEFAULTS": monoceros.logging.CONFIG_DEFAULTS,
    "gunicorn.glogging.SafeAtoms": monoceros.logging.SafeAtoms,
    "gunicorn.workers.base.Worker": monoceros.workers.base.Worker,
    "gunicorn.workers.sync.SyncWorker": monoceros.workers.sync.SyncWorker,
    "gunicorn.workers.gthread.ThreadWorker": monoceros.workers.gthread.ThreadWorker,
    "gunicorn.http.wsgi.FileWrapper": _core.FileWrapper,
    "gunicorn.http.message.Request": _core.Request,
    "gunicorn.http.body.Body": _core.Input,
}


@pytest.mark.usefixtures("gunicorn")
def test_names_are_ours() -> None:
    for path, ours in NAMES.items():
        assert named(path) is ours, path


def test_constants(gunicorn: ModuleType) -> None:
    assert gunicorn.__version__ == ".".join(map(str, gunicorn.version_info))
    assert gunicorn.version_info >= (20, 1), "old enough for code to think it is an old Gunicorn"
    assert compat.server_names() == (gunicorn.SERVER, gunicorn.SERVER_SOFTWARE)
    assert importlib.metadata.version("gunicorn") == gunicorn.__version__


def test_a_renamed_server(gunicorn: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn, "SERVER", "Apache")
    assert compat.server_names()[0] == "Apache"


#: Gunicorn's modules in which every name is either here or refused with what to use instead.
MODULES = (
    "app.base",
    "app.wsgiapp",
    "errors",
    "glogging",
    "workers",
    "http.errors",
    "http.unreader",
    "pidfile",
    "systemd",
    "debug",
)


@pytest.mark.usefixtures("gunicorn")
@pytest.mark.parametrize("name", MODULES)
def test_no_name_of_gunicorns_is_forgotten(name: str) -> None:
    folder = installed_gunicorn()
    source = folder / f"{name.replace('.', '/')}.py"
    if not source.exists():
        source = folder / name.replace(".", "/") / "__init__.py"
    module = importlib.import_module(f"gunicorn.{name}")
    for defined in public_names(source):
        try:
            getattr(module, defined)
        except ImportError as error:
            assert str(error).startswith("Monoceros has no gunicorn."), error


def installed_gunicorn() -> Path:
    """The folder of the real package."""
    for found in importlib.metadata.distributions(name="gunicorn"):
        folder = Path(str(found.locate_file("gunicorn")))
        if (folder / "arbiter.py").exists() and not folder.is_relative_to(compat.FOLDER):
            return folder
    pytest.skip("gunicorn is not installed")


def public_names(source: Path) -> list[str]:
    """What a file defines at its top, without what is marked as its own."""
    found: list[str] = []
    for node in ast.parse(source.read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.append(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found.append(name)
    return [name for name in found if not name.startswith("_")]


ABSENT = {
    "gunicorn.http.parser.RequestParser": "the engine reads requests",
    "gunicorn.sock.create_sockets": "the arbiter opens and closes",
    "gunicorn.util.daemonize": "service manager",
    "gunicorn.reloader.Reloader": "reload",
    "gunicorn.workers.gthread.TConn": "handle_request",
}


@pytest.mark.usefixtures("gunicorn")
@pytest.mark.parametrize("path", ABSENT)
def test_an_import_of_what_is_not_there_says_what_to_use(path: str) -> None:
    module, _, name = path.rpartition(".")
    with pytest.raises(ImportError, match=ABSENT[path]):
        exec(f"from {module} import {name}")
    with pytest.raises(AttributeError):
        named(f"{module}.no_such_name")


@pytest.mark.usefixtures("gunicorn")
def test_settings_by_gunicorns_class_names() -> None:
    config = importlib.import_module("gunicorn.config")
    for name, setting in {
        "AccessLogFormat": "access_log_format",
        "WorkerThreads": "threads",
        "ForwardedAllowIPS": "forwarded_allow_ips",
        "Procname": "proc_name",
        "Env": "raw_env",
        "Bind": "bind",
    }.items():
        assert getattr(config, name).name == setting


@pytest.mark.usefixtures("gunicorn")
def test_settings_of_others() -> None:
    """A class made as Gunicorn's own are registers, has a flag and its help, and is validated."""
    config = importlib.import_module("gunicorn.config")
    known = list(KNOWN_SETTINGS)
    try:

        class Colour(config.Setting):  # type: ignore[misc]
            name = "colour"
            section = "Paint"
            cli = ["--colour"]  # noqa: RUF012 - as others write it
            meta = "NAME"
            validator = config.validate_string
            default = "red"
            desc = """\
                The colour of everything.

                And more of it.
                """

        cfg = Config()
        assert cfg.colour == "red"
        assert cfg.parser().parse_args(["--colour", "blue"]).colour == "blue"
        cfg.set("colour", " green ")
        assert (cfg.colour, cfg.settings["colour"].get()) == ("green", "green")
        assert cfg.settings["colour"].short == "The colour of everything."
        assert "The colour of everything." in cfg.parser().format_help()
        with pytest.raises(TypeError):
            cfg.set("colour", 3)
        with pytest.raises(AttributeError, match="Invalid access"):
            cfg.colour = "black"
    finally:
        KNOWN_SETTINGS[:] = known


@pytest.mark.usefixtures("gunicorn")
def test_errors_can_be_caught_by_their_base() -> None:
    errors = importlib.import_module("gunicorn.http.errors")
    assert issubclass(errors.InvalidHeaderName, errors.ParseException)
    assert issubclass(errors.InvalidResponseHeader, errors.InvalidHeader)
    assert issubclass(errors.NoMoreData, OSError)
    assert str(errors.InvalidRequestMethod("G@T")) == "Invalid HTTP method: 'G@T'"
    assert str(errors.LimitRequestLine(10, 5)) == "Request Line is too large (10 > 5)"


@pytest.mark.usefixtures("gunicorn")
def test_helpers(tmp_path: Path) -> None:
    util = importlib.import_module("gunicorn.util")
    assert util.parse_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert util.parse_address("unix:/x") == "/x"
    assert util.parse_address("localhost", default_port="9000") == ("localhost", 9000)
    with pytest.raises(RuntimeError):
        util.parse_address("ftp://x")
    assert util.load_class("sync") is monoceros.workers.sync.SyncWorker
    with pytest.raises(RuntimeError, match="invalid or not found"):
        util.load_class("no.such.Worker")
    assert util.http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert util.to_bytestring("ü") == "ü".encode()
    assert util.unquote_to_wsgi_str("/a%C3%BC") == "/aÃ¼"
    assert util.split_request_uri("//a/b?c").path == "//a/b"
    assert util.is_ipv6("::1") and not util.is_ipv6("1.2.3.4")
    assert util.get_arity(lambda a, b: None) == 2
    assert util.is_hoppish("Connection") and not util.is_hoppish("X-A")
    util.unlink(str(tmp_path / "nothing"))
    answered: list[str] = []
    body = util.make_fail_app("broken")({}, lambda status, fields: answered.append(status))
    assert (body, answered) == ([b"broken"], ["500 Internal Server Error"])


def test_folders_that_come_later_do_not_win(gunicorn: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "gunicorn").mkdir()
    (tmp_path / "gunicorn" / "__init__.py").write_text("real = True\n")
    sys.path.insert(0, str(tmp_path))
    assert importlib.import_module("gunicorn") is gunicorn
    compat.install()
    assert sys.path[0] == compat.FOLDER
    assert importlib.import_module("gunicorn") is gunicorn


@pytest.mark.usefixtures("gunicorn")
def test_what_was_imported_before_is_let_go(tmp_path: Path) -> None:
    for name in gunicorns():
        del sys.modules[name]
    real = ModuleType("gunicorn")
    real.__path__ = [str(tmp_path)]
    sys.modules["gunicorn"] = real
    sys.modules["gunicorn.workers"] = ModuleType("gunicorn.workers")
    compat.install()
    assert compat.is_ours(sys.modules["gunicorn"])
    assert named("gunicorn.workers.base.Worker") is monoceros.workers.base.Worker
