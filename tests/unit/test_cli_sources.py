"""Where the configuration comes from: which source wins, and what a reload does with them."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from monoceros import cli
from monoceros.app import Application, BaseApplication, WSGIApplication
from monoceros.errors import ConfigError, ConfigFileError

VARIABLES = (
    "PORT",
    "WEB_CONCURRENCY",
    "SENDFILE",
    "FORWARDED_ALLOW_IPS",
    "MONOCEROS_CMD_ARGS",
    "GUNICORN_CMD_ARGS",
)

Write = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, a clean environment, and a worker class that needs no engine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sync = ModuleType("monoceros.workers.sync")
    sync.SyncWorker = type("SyncWorker", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "monoceros.workers.sync", sync)
    yield
    sys.modules.pop("__config__", None)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, source: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(source))

    return write_file


def load(*arguments: str) -> WSGIApplication:
    return WSGIApplication(cli.USAGE, "monoceros", [*arguments, "app"])


class TestPrecedence:
    def test_each_source_overrules_those_before_it(
        self, monkeypatch: pytest.MonkeyPatch, write: Write
    ) -> None:
        class Framework(WSGIApplication):
            def init(self, parser: Any, opts: Any, args: Any) -> dict[str, Any]:
                super().init(parser, opts, args)
                return {"workers": 2, "timeout": 2, "BACKLOG": 2, "keepalive": 2}

        monkeypatch.setenv("WEB_CONCURRENCY", "1")
        write("monoceros.conf.py", "timeout = 3\nbacklog = 3\nkeepalive = 3")
        monkeypatch.setenv("MONOCEROS_CMD_ARGS", "--backlog 4 --keep-alive 4")
        app = Framework("", "monoceros", ["--keep-alive", "5", "app"])
        assert load().cfg.workers == 1
        assert (app.cfg.workers, app.cfg.timeout) == (2, 3)
        assert (app.cfg.backlog, app.cfg.keepalive) == (4, 5)

    def test_a_list_on_the_command_line_takes_the_place_of_the_files(self, write: Write) -> None:
        write("monoceros.conf.py", "bind = ['127.0.0.1:1', '127.0.0.1:2']")
        assert load("-b", "127.0.0.1:3", "--bind", "unix:/x").cfg.bind == ["127.0.0.1:3", "unix:/x"]

    def test_our_variable_hides_gunicorns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 3 --timeout 3")
        assert load().cfg.workers == 3
        monkeypatch.setenv("MONOCEROS_CMD_ARGS", "--timeout 4")
        cfg = load().cfg
        assert (cfg.workers, cfg.timeout) == (1, 4)

    def test_an_app_in_the_variable_is_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MONOCEROS_CMD_ARGS", "--timeout 4 other:app")
        assert load().app_uri == "app"

    def test_our_file_hides_gunicorns(self, write: Write) -> None:
        assert load().cfg.config == "./monoceros.conf.py"
        write("gunicorn.conf.py", "workers = 3\ntimeout = 3")
        cfg = load().cfg
        assert (cfg.workers, cfg.config) == (3, "./gunicorn.conf.py")
        write("monoceros.conf.py", "timeout = 4")
        cfg = load().cfg
        assert (cfg.workers, cfg.timeout, cfg.config) == (1, 4, "./monoceros.conf.py")

    def test_a_named_file_is_the_only_one_read(
        self, monkeypatch: pytest.MonkeyPatch, write: Write
    ) -> None:
        write("monoceros.conf.py", "workers = 3")
        write("a.py", "timeout = 4")
        write("b.py", "timeout = 5")
        cfg = load("-c", "a.py").cfg
        assert (cfg.workers, cfg.timeout, cfg.config) == (1, 4, "a.py")
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "-c b.py")
        assert load().cfg.timeout == 5
        assert load("--config", "file:a.py").cfg.timeout == 4

    def test_an_empty_name_means_the_default(self, write: Write) -> None:
        write("monoceros.conf.py", "workers = 3")
        assert load("-c", "").cfg.workers == 3


def test_the_platform_may_say_whom_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8")
    assert load().cfg.forwarded_allow_ips == ["10.0.0.0/8"]
    assert load("--forwarded-allow-ips", "*").cfg.forwarded_allow_ips == ["*"]


class TestFolders:
    def test_the_start_folder_is_on_the_module_path(self, tmp_path: Path, write: Write) -> None:
        write("conf_here.py", "workers = 3")
        assert load("-c", "python:conf_here").cfg.workers == 3
        assert str(tmp_path) in sys.path

    def test_a_relative_file_counts_from_the_start_folder(
        self, tmp_path: Path, write: Write
    ) -> None:
        write("conf.py", "workers = 3\nchdir = 'elsewhere'")
        write("site/conf.py", "workers = 4")
        write("elsewhere/here", "")
        app = load("--chdir", "site", "-c", "conf.py")
        assert app.cfg.workers == 3
        assert app.cfg.chdir == str(tmp_path / "site")
        assert Path.cwd() == tmp_path / "site"
        assert sys.path[0] == str(tmp_path / "site")
        app.reload()
        assert app.cfg.workers == 3
        assert Path.cwd() == tmp_path / "site"

    def test_the_default_file_too(self, tmp_path: Path, write: Write) -> None:
        write("monoceros.conf.py", "chdir = 'site'\nworkers = 3")
        write("site/monoceros.conf.py", "workers = 4")
        app = load()
        app.reload()
        assert (app.cfg.workers, Path.cwd()) == (3, tmp_path / "site")

    def test_python_path_counts_from_the_final_folder(self, tmp_path: Path, write: Write) -> None:
        write("site/here", "")
        load("--chdir", "site", "--pythonpath", "a, b,/c,")
        site = tmp_path / "site"
        assert sys.path[:4] == ["/c", str(site / "b"), str(site / "a"), str(site)]


class TestApp:
    def test_the_first_argument_names_it(self, caplog: pytest.LogCaptureFixture) -> None:
        app = WSGIApplication(None, None, ["a:b", "c:d"])
        assert app.app_uri == "a:b"
        assert app.cfg.default_proc_name == app.cfg.proc_name == "a:b"
        (record,) = caplog.records
        assert "only the first of the arguments 'a:b c:d' names the app" in record.getMessage()

    def test_else_the_setting_does(self, write: Write) -> None:
        write("monoceros.conf.py", "wsgi_app = 'shop.wsgi'")
        assert WSGIApplication(None, None, []).app_uri == "shop.wsgi"
        assert WSGIApplication(None, None, ["a:b"]).app_uri == "a:b"

    def test_it_may_stand_anywhere(self) -> None:
        line = "--log-config config/logging.cfg --timeout 9 wsgi:app --preload"
        app = WSGIApplication(None, None, line.split())
        assert app.app_uri == "wsgi:app"
        assert app.cfg.preload_app is True
        assert app.cfg.logconfig == "config/logging.cfg"

    def test_it_is_loaded_once(self, write: Write) -> None:
        write("once_app.py", "def application(environ, start_response): ...")
        app = WSGIApplication(None, None, ["once_app"])
        assert app.callable is None
        assert app.wsgi() is app.wsgi() is sys.modules.pop("once_app").application

    def test_the_arguments_of_the_process_are_the_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["monoceros", "-w", "3", "a:b"])
        assert WSGIApplication().cfg.workers == 3


class TestReload:
    def test_the_file_is_read_again(self, write: Write) -> None:
        write("monoceros.conf.py", "workers = 2\ntimeout = 9")
        app = load()
        former = app.cfg
        write("monoceros.conf.py", "workers = 3")
        app.reload()
        assert (app.cfg.workers, app.cfg.timeout) == (3, 30)
        assert (former.workers, former.timeout) == (2, 9)

    def test_a_file_that_has_come_is_read(self, write: Write) -> None:
        app = load()
        write("gunicorn.conf.py", "workers = 3")
        app.reload()
        assert app.cfg.workers == 3

    def test_defaults_come_from_the_environment_of_the_start(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MONOCEROS_CMD_ARGS", "--timeout 9")
        app = load()
        # What raw_env sets is in the arbiter's environment by then.
        monkeypatch.setenv("WEB_CONCURRENCY", "8")
        monkeypatch.setenv("MONOCEROS_CMD_ARGS", "--timeout 8")
        app.reload()
        assert (app.cfg.workers, app.cfg.timeout) == (1, 9)
        assert "WEB_CONCURRENCY" not in app.cfg.env_orig

    @pytest.mark.parametrize(
        ("source", "error", "message"),
        [
            ("workers = 'x'", ConfigError, "Invalid value for workers: x"),
            ("1/0", ConfigFileError, "Failed to read config file: ./monoceros.conf.py"),
            ("workers = ", ConfigFileError, "Failed to read config file"),
            ("raise SystemExit('no')", ConfigError, "ended the process: 'no'"),
            ("bind = 'x:y'", ConfigError, "invalid address 'x:y' to bind"),
            ("worker_class = 'nope'", ConfigError, "class uri 'nope' invalid or not found"),
            ("chdir = 'nowhere'", ConfigError, "can't chdir to"),
            ("paste = 'x'", ConfigError, "paste: '.*' not found"),
            ("keyfile = 'x'", ConfigError, "certfile is not: set both"),
            ("pythonpath = '/nowhere'\nchdir = 'other'\nbind = 'x:y'", ConfigError, "x:y"),
        ],
    )
    def test_a_failure_leaves_everything_as_it_was(
        self,
        write: Write,
        capsys: pytest.CaptureFixture[str],
        source: str,
        error: type[Exception],
        message: str,
    ) -> None:
        write("monoceros.conf.py", "workers = 2\nchdir = 'site'")
        write("site/here", "")
        write("other/here", "")
        app = WSGIApplication(None, None, ["app"])
        state = dict(vars(app)), Path.cwd(), list(sys.path), sys.modules["__config__"]
        write("monoceros.conf.py", source)
        with pytest.raises(error, match=message) as caught:
            app.reload()
        assert "\n" not in str(caught.value)
        assert (dict(vars(app)), Path.cwd(), list(sys.path)) == state[:3]
        assert app.cfg.workers == 2
        assert capsys.readouterr().err == ""
        write("monoceros.conf.py", "workers = 3")
        app.reload()
        assert app.cfg.workers == 3

    def test_the_app_it_names_can_change(self, write: Write) -> None:
        write("monoceros.conf.py", "wsgi_app = 'a'")
        app = WSGIApplication(None, None, [])
        write("monoceros.conf.py", "wsgi_app = 'b'")
        app.reload()
        assert (app.app_uri, app.cfg.proc_name) == ("b", "b")
        write("monoceros.conf.py", "")
        with pytest.raises(ConfigError, match="No application module specified"):
            app.reload()
        assert (app.app_uri, app.cfg.proc_name) == ("b", "b")


class TestEmbedding:
    """The idiom of those who start a server from their own program."""

    class Standalone(BaseApplication):
        def __init__(self, app: Any, options: dict[str, Any]) -> None:
            self.application = app
            self.options = options
            super().__init__()

        def load_config(self) -> None:
            for name, value in self.options.items():
                if name in self.cfg.settings and value is not None:
                    self.cfg.set(name.lower(), value)

        def load(self) -> Any:
            return self.application

    def test_nothing_else_is_read(self, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
        write("gunicorn.conf.py", "workers = 9")
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 8")
        monkeypatch.setattr(sys, "argv", ["program", "--workers", "7", "--nope"])
        app = self.Standalone(print, {"timeout": 9, "unknown": 1})
        assert (app.cfg.workers, app.cfg.timeout) == (1, 9)
        assert app.wsgi() is print
        assert (app.usage, app.prog, app.logger) == (None, None, None)

    def test_an_error_ends_the_process_with_one_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            self.Standalone(print, {"workers": "x"})
        assert caught.value.code == 1
        assert capsys.readouterr().err == "\nError: workers: must be a whole number, not 'x'\n"

    def test_an_error_of_its_own_is_named_by_its_type(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Failing(BaseApplication):
            def load_config(self) -> None:
                raise KeyError("DATABASE_URL")

        with pytest.raises(SystemExit):
            Failing()
        assert capsys.readouterr().err == "\nError: KeyError: 'DATABASE_URL'\n"

    def test_a_reload_reads_the_options_again(self) -> None:
        app = self.Standalone(print, {"timeout": 9})
        app.options = {"timeout": 8}
        app.reload()
        assert app.cfg.timeout == 8
        app.options = {"timeout": "x"}
        with pytest.raises(ValueError, match="timeout"):
            app.reload()
        assert app.cfg.timeout == 8

    def test_what_must_be_overridden_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            BaseApplication()
        assert "override load_config" in capsys.readouterr().err

        class Half(Application):
            pass

        with pytest.raises(NotImplementedError, match="override load"):
            Half(None, None, []).load()


class TestRun:
    @pytest.fixture
    def arbiter(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Stands in for the arbiter; what it was made with is kept."""
        made: list[Any] = []

        class Arbiter:
            error: Exception | None = None

            def __init__(self, app: Any) -> None:
                made.append(app)

            def run(self) -> None:
                if made[0].cfg.workers == 13:
                    raise RuntimeError("thirteen workers are too many")

        module = ModuleType("monoceros.arbiter")
        module.Arbiter = Arbiter  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "monoceros.arbiter", module)
        return made

    def test_the_command_runs_the_arbiter(self, arbiter: list[Any]) -> None:
        cli.main(["-w", "3", "a:b"])
        (app,) = arbiter
        assert app.cfg.workers == 3
        assert app.prog == "monoceros"

    def test_its_error_is_one_line(
        self, arbiter: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["-w", "13", "a:b"])
        assert caught.value.code == 1
        assert capsys.readouterr().err == "\nError: thirteen workers are too many\n"
        assert len(arbiter) == 1

    def test_the_environment_is_left_alone(self, arbiter: list[Any]) -> None:
        cli.main(["-e", "SHOP_SETTING=1", "a:b"])
        assert "SHOP_SETTING" not in os.environ
        assert arbiter[0].cfg.env == {"SHOP_SETTING": "1"}
