"""Config files: what they set, how they fail, and what is said about unknown names."""

import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monoceros.config import Config
from monoceros.config.files import load_config_file
from monoceros.errors import ConfigError, ConfigFileError, format_foreign_exception
from support.privileges import without_privileges

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a file into the test's folder, which is the current one and on the module path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write_file(source: str, name: str = "conf.py") -> str:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(source))
        return name

    yield write_file
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.pop("__config__", None)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gunicorn.error"]


def test_names_that_are_settings_are_set(cfg: Config, write: Write) -> None:
    location = write(
        """
        import multiprocessing
        bind = ["127.0.0.1:1", "unix:/x"]
        workers = "3"
        def pre_fork(server, worker):
            return "mine"
        """
    )
    load_config_file(cfg, location)
    assert cfg.bind == ["127.0.0.1:1", "unix:/x"]
    assert cfg.workers == 3
    assert cfg.pre_fork(None, None) == "mine"


@pytest.mark.parametrize("prefix", ["", "file:", "./"])
def test_a_path_may_be_written_in_several_ways(cfg: Config, write: Write, prefix: str) -> None:
    load_config_file(cfg, prefix + write("workers = 3"))
    assert cfg.workers == 3


@pytest.mark.parametrize("name", ["conf", "conf.ini", "conf.txt"])
def test_any_suffix_is_python(cfg: Config, write: Write, name: str) -> None:
    load_config_file(cfg, write("workers = 3", name))
    assert cfg.workers == 3


def test_bytecode_is_run_too(cfg: Config, write: Write) -> None:
    import py_compile

    py_compile.compile(write("workers = 3\nwrokers = 4"), cfile="conf.pyc")
    load_config_file(cfg, "conf.pyc")
    assert cfg.workers == 3


def test_it_runs_as_the_module_config(cfg: Config, write: Write) -> None:
    load_config_file(cfg, write("proc_name = __name__\npidfile = __file__"))
    assert cfg.proc_name == "__config__"
    assert cfg.pidfile == os.path.abspath("conf.py")  # noqa: PTH100
    assert sys.modules["__config__"].proc_name == "__config__"


def test_it_can_not_name_another_config_file(cfg: Config, write: Write) -> None:
    load_config_file(cfg, write("config = 'other.py'"))
    assert cfg.config == "./monoceros.conf.py"


class TestReadingAgain:
    """A reload within the same second, with a text of the same length."""

    def test_a_path(self, write: Write) -> None:
        for workers in (1, 2, 3):
            cfg = Config()
            load_config_file(cfg, write(f"workers = {workers}"))
            assert cfg.workers == workers

    @pytest.mark.parametrize("name", ["site_conf", "site_package.conf"])
    def test_a_module(self, write: Write, name: str) -> None:
        write("", "site_package/__init__.py")
        for workers in (1, 2, 3):
            cfg = Config()
            write(f"workers = {workers}", f"{name.replace('.', '/')}.py")
            load_config_file(cfg, f"python:{name}")
            assert cfg.workers == workers
            assert sys.modules[name].workers == workers

    def test_names_that_have_gone_are_gone(self, write: Write) -> None:
        write("workers = 3\ntimeout = 9", "gone_conf.py")
        load_config_file(Config(), "python:gone_conf")
        write("workers = 4", "gone_conf.py")
        cfg = Config()
        load_config_file(cfg, "python:gone_conf")
        assert (cfg.workers, cfg.timeout) == (4, 30)

    def test_a_failure_leaves_the_former_module(self, write: Write) -> None:
        load_config_file(Config(), write("workers = 3"))
        write("workers = 3", "kept_conf.py")
        load_config_file(Config(), "python:kept_conf")
        former = sys.modules["__config__"], sys.modules["kept_conf"]
        with pytest.raises(ConfigFileError):
            load_config_file(Config(), write("1/0"))
        write("1/0", "kept_conf.py")
        with pytest.raises(ConfigFileError):
            load_config_file(Config(), "python:kept_conf")
        assert (sys.modules["__config__"], sys.modules["kept_conf"]) == former


class TestFailures:
    @pytest.mark.parametrize(
        ("location", "message"),
        [
            ("nope.py", "config file 'nope.py' doesn't exist"),
            ("file:nope.py", "config file 'nope.py' doesn't exist"),
            (".", "config file '.' can't be read: Is a directory"),
            ("python:no_such_conf", "config module 'no_such_conf' not found"),
            ("python:no_such.conf", "config module 'no_such.conf' not found"),
            ("python:os.conf", "config module 'os.conf' not found"),
        ],
    )
    @pytest.mark.usefixtures("write")
    def test_a_missing_one_is_one_line(self, cfg: Config, location: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config_file(cfg, location)
        assert str(caught.value) == message

    def test_an_unreadable_one_is_one_line(self, cfg: Config, write: Write) -> None:
        location = write("workers = 3")
        Path(location).chmod(0)
        Path().chmod(0o755)
        message = r"^config file 'conf.py' can't be read: Permission"
        with pytest.raises(ConfigError, match=message), without_privileges():
            load_config_file(cfg, location)

    @pytest.mark.parametrize("kind", ["path", "module"])
    @pytest.mark.parametrize(
        ("source", "last_line"),
        [
            ("raise ValueError('x')", "ValueError: x"),
            ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
            ("def f():\n    1/0\nf()", "ZeroDivisionError: division by zero"),
            ("workers =", "SyntaxError: invalid syntax"),
            ("a = 1\n  b = 2", "IndentationError: unexpected indent"),
            ("x = '\0'", "SyntaxError: source code string cannot contain null bytes"),
        ],
    )
    def test_code_that_fails_shows_its_own_traceback(
        self, cfg: Config, write: Write, kind: str, source: str, last_line: str
    ) -> None:
        location = write(source, "broken_conf.py")
        if kind == "module":
            location = "python:broken_conf"
        with pytest.raises(ConfigFileError) as caught:
            load_config_file(cfg, location)
        assert str(caught.value) == f"Failed to read config file: {location}"
        cause = caught.value.__cause__
        assert cause is not None
        shown = format_foreign_exception(cause)
        assert shown.rstrip().endswith(last_line) or "null bytes" in shown
        assert "monoceros" not in shown
        assert "importlib" not in shown
        if "Error: x" in last_line or "Zero" in last_line:
            assert "broken_conf.py" in shown
            assert len(traceback.extract_tb(cause.__traceback__)) > 1

    def test_an_exit_is_left_to_the_caller(self, cfg: Config, write: Write) -> None:
        with pytest.raises(SystemExit):
            load_config_file(cfg, write("raise SystemExit('no database')"))

    def test_a_value_that_can_not_be_names_setting_value_file_and_reason(
        self, cfg: Config, write: Write
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config_file(cfg, write("workers = 'many'"))
        assert str(caught.value) == (
            "Invalid value for workers: many in config file conf.py: "
            "must be a whole number, not 'many'"
        )

    def test_a_hook_of_the_wrong_arity_is_such_a_value(self, cfg: Config, write: Write) -> None:
        with pytest.raises(ConfigError, match=r"Invalid value for pre_fork: .*2 arguments"):
            load_config_file(cfg, write("def pre_fork(server): pass"))

    def test_a_setting_that_safety_depends_on_refuses_the_file(
        self, cfg: Config, write: Write
    ) -> None:
        with pytest.raises(ConfigError, match=r"ssl_context .*not supported by this release"):
            load_config_file(cfg, write("def ssl_context(conf, factory): pass"))


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("source", "name", "near"),
        [
            ("wrokers = 3", "wrokers", "workers"),
            ("WORKERS = 3", "WORKERS", "workers"),
            ("Timeout = 3", "Timeout", "timeout"),
            ("bind_ = ['x']", "bind_", "bind"),
            ("keep_alive = 3", "keep_alive", "keepalive"),
            ("work_class = 'sync'", "work_class", "worker_class"),
            ("certfil = None", "certfil", "certfile"),
            ("if True:\n    wrokers = 3", "wrokers", "workers"),
            ("try:\n    1/0\nexcept ZeroDivisionError:\n    wrokers = 3", "wrokers", "workers"),
            ("wrokers: int = 3", "wrokers", "workers"),
            ("a, wrokers = 1, 3\ndel a", "wrokers", "workers"),
            ("def pre_frok(server, worker): pass", "pre_frok", "pre_fork"),
            ("post_requests = lambda worker, req: None", "post_requests", "post_request"),
            ("def when_redy(server): pass", "when_redy", "when_ready"),
        ],
    )
    def test_the_nearest_name_is_told(
        self,
        cfg: Config,
        write: Write,
        caplog: pytest.LogCaptureFixture,
        source: str,
        name: str,
        near: str,
    ) -> None:
        load_config_file(cfg, write(source))
        assert warnings(caplog) == [
            f"config file conf.py: no setting is called {name!r}; did you mean {near!r}?"
        ]

    def test_a_name_like_no_other_is_told_once(
        self, cfg: Config, write: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        load_config_file(cfg, write("banana = 3\nbanana = 4"))
        assert warnings(caplog) == [
            "config file conf.py: no setting is called 'banana'; "
            "begin the names of helpers with '_'"
        ]

    def test_a_file_s_own_business_is_not(
        self, cfg: Config, write: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        write("wrokers = 3\ntimeuot = 4", "base_conf.py")
        load_config_file(
            cfg,
            write(
                """
                import os, json as jsn
                from base_conf import wrokers
                from base_conf import *
                from importlib import reload
                from os import cpu_count as worker
                import logging as group
                _wrokers = 3
                BASE_DIR = "/srv"
                wrokerz = object()
                class Worker: ...
                class pre_frok: ...
                def helper(a): return a
                def compute_workers(): return 2
                for timeuot_ in range(3): pass
                with open(__file__) as wrokers_file: pass
                workers = compute_workers()
                use_loglevel, timeout_str = "info", "30"
                loglevel = use_loglevel
                timeout = int(timeout_str)
                """
            ),
        )
        assert warnings(caplog) == []
        assert cfg.workers == 2

    def test_a_setting_not_there_yet_is_warned_about_once(
        self, cfg: Config, write: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        load_config_file(
            cfg,
            write(
                """
                http2_max_frame_size = 20000
                http2_cleartext = False
                http_protocols = "h2,h1"
                """
            ),
        )
        assert [line.partition(" (")[0] for line in warnings(caplog)] == [
            "http2_max_frame_size is not supported by this release and has no effect",
            "http_protocols is not supported by this release and has no effect",
        ]

    def test_a_module_is_looked_through_too(
        self, cfg: Config, write: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        write("wrokers = 3", "typo_conf.py")
        load_config_file(cfg, "python:typo_conf")
        assert warnings(caplog) == [
            "config file python:typo_conf: no setting is called 'wrokers'; did you mean 'workers'?"
        ]
