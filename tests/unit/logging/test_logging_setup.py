"""Setup and reload: who logs where, what of the operator's configuration counts, what fails how."""

import io
import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from gunicorn import glogging

from monoceros.errors import ConfigError
from monoceros.logging import CONFIG_DEFAULTS, Logger, SafeAtoms, loggers, reconfigure


def tagged(stream: Any, tag: str) -> dict[str, Any]:
    """A dictConfig whose error lines carry a tag."""
    return {
        "version": 1,
        "root": {"level": "INFO", "handlers": []},
        "handlers": {"h": {"class": "logging.StreamHandler", "stream": stream, "formatter": "f"}},
        "formatters": {"f": {"format": tag + ":%(levelname)s:%(message)s"}},
        "loggers": {
            "gunicorn.error": {"handlers": ["h"], "level": "DEBUG", "propagate": False},
        },
    }


class TestContract:
    def test_attributes(self, settings: Any) -> None:
        cfg = settings(loglevel="DEBUG")
        log = Logger(cfg)
        assert log.cfg is cfg
        assert log.error_log is logging.getLogger("gunicorn.error")
        assert log.access_log is logging.getLogger("gunicorn.access")
        assert not log.error_log.propagate and not log.access_log.propagate
        assert log.loglevel == log.error_log.level == logging.DEBUG
        assert log.access_log.level == logging.INFO
        assert log.logfile is None
        assert [handler._gunicorn for handler in log.error_handlers] == [True]
        assert log.access_handlers == log.access_log.handlers == []
        with log.lock:
            pass

    @pytest.mark.parametrize(
        "name", ["LOG_LEVELS", "loglevel", "error_fmt", "datefmt", "access_fmt", "syslog_fmt"]
    )
    def test_class_attributes_are_gunicorns(self, name: str) -> None:
        assert getattr(Logger, name) == getattr(glogging.Logger, name)

    def test_the_defaults_are_gunicorns(self) -> None:
        assert glogging.CONFIG_DEFAULTS == CONFIG_DEFAULTS
        assert Logger.atoms_wrapper_class is SafeAtoms

    def test_no_public_method_is_missing(self) -> None:
        missing = {name for name in dir(glogging.Logger) if not hasattr(Logger, name)}
        # Not reached from outside.
        assert missing == {"_compute_access_log_enabled", "_get_gunicorn_handler"}

    def test_loggers(self) -> None:
        cart = logging.getLogger("shop.cart")
        assert cart in loggers()
        assert logging.root not in loggers()

    @pytest.mark.parametrize(
        ("method", "level"),
        [
            ("critical", "CRITICAL"),
            ("error", "ERROR"),
            ("warning", "WARNING"),
            ("info", "INFO"),
            ("debug", "DEBUG"),
        ],
    )
    def test_levels(self, method: str, level: str, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e"), loglevel="debug"))
        getattr(log, method)("%s is %d", "that", 5)
        log.log(method.upper(), "by name")
        log.log(getattr(logging, level), "by number")
        lines = (tmp_path / "e").read_text().splitlines()
        assert [line.split(f"[{os.getpid()}] ")[1] for line in lines] == [
            f"[{level}] that is 5",
            f"[{level}] by name",
            f"[{level}] by number",
        ]

    def test_exception_has_its_traceback(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e")))
        try:
            raise LookupError("nothing there")
        except LookupError:
            log.exception("while looking")
        text = (tmp_path / "e").read_text()
        assert "[ERROR] while looking\nTraceback" in text
        assert text.endswith("LookupError: nothing there\n")

    def test_a_record_names_its_caller(self, settings: Any, tmp_path: Path) -> None:
        class Located(Logger):
            error_fmt = "%(filename)s %(funcName)s"

        log = Located(settings(errorlog=str(tmp_path / "e")))
        log.info("here")
        log.log("info", "here")
        expected = f"{Path(__file__).name} test_a_record_names_its_caller\n"
        assert (tmp_path / "e").read_text() == expected * 2

    def test_lines_of_the_error_log_are_gunicorns(self, settings: Any, tmp_path: Path) -> None:
        written = []
        for kind in (glogging.Logger, Logger):
            path = tmp_path / kind.__module__
            log = kind(settings(errorlog=str(path)))
            record = log.error_log.makeRecord(
                "gunicorn.error", logging.WARNING, "f", 1, "a %s\nb", ("\u00fc",), None
            )
            record.created = 1_795_435_200.25
            log.error_log.handle(record)
            written.append(path.read_bytes())
        assert written[0] == written[1] != b""

    def test_console(self, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
        log = Logger(settings(accesslog="-"))
        log.error("to stderr")
        log.access_log.info("to stdout")
        captured = capsys.readouterr()
        assert captured.out == "to stdout\n"
        assert captured.err.endswith("[ERROR] to stderr\n")

    @pytest.mark.parametrize(
        ("changes", "enabled"),
        [
            ({}, False),
            ({"accesslog": "-"}, True),
            ({"logconfig_dict": {"version": 1}}, True),
            ({"syslog": True}, True),
            ({"syslog": True, "disable_redirect_access_to_syslog": True}, False),
        ],
    )
    def test_when_the_access_log_is_on(
        self, changes: dict[str, Any], enabled: bool, settings: Any
    ) -> None:
        assert Logger(settings(**changes)).access_log_enabled is enabled

    def test_a_setup_of_ones_own(self, settings: Any, tmp_path: Path) -> None:
        class Own(Logger):
            def setup(self, cfg: Any) -> None:
                self.cfg = cfg

        log = Own(settings(accesslog="-"))
        assert log.access_log_enabled

    @pytest.mark.parametrize(
        ("name", "hint"),
        [("warn", "did you mean 'warning'?"), ("loud", "not known; info")],
    )
    def test_an_unknown_level_is_said(
        self, name: str, hint: str, settings: Any, tmp_path: Path
    ) -> None:
        log = Logger(settings(loglevel=name, errorlog=str(tmp_path / "e")))
        assert log.error_log.level == logging.INFO
        text = (tmp_path / "e").read_text()
        assert repr(name) in text
        assert hint in text


class TestReload:
    def test_nothing_is_logged_twice(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a")))
        former = log.error_log.handlers[0]
        log.setup(log.cfg)
        log.error("once")
        log.access_log.info("once")
        assert (tmp_path / "e").read_text().count("once") == 1
        assert (tmp_path / "a").read_text() == "once\n"
        assert isinstance(former, logging.FileHandler)
        assert former.stream is None, "the former file is still open"

    def test_new_settings_count(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "1"), accesslog=str(tmp_path / "a")))
        cfg = settings(errorlog=str(tmp_path / "2"), loglevel="error")
        log.setup(cfg)
        log.warning("not said")
        log.error("said")
        assert (tmp_path / "1").read_text() == ""
        assert (tmp_path / "2").read_text().endswith("said\n")
        assert "not said" not in (tmp_path / "2").read_text()
        assert log.cfg is cfg
        assert not log.access_log_enabled
        assert log.access_log.handlers == []

    def test_a_log_configuration_can_go_again(self, settings: Any, tmp_path: Path) -> None:
        stream = io.StringIO()
        log = Logger(settings(logconfig_dict=tagged(stream, "A")))
        log.setup(settings(errorlog=str(tmp_path / "e")))
        log.error("plain again")
        assert stream.getvalue() == ""
        assert (tmp_path / "e").read_text().endswith("plain again\n")
        assert log.error_log.level == logging.INFO

    @pytest.mark.parametrize("broken", ["unwritable", "dict", "json", "ini", "half", "subclass"])
    def test_a_failure_changes_nothing(self, broken: str, settings: Any, tmp_path: Path) -> None:
        class Closing(logging.StreamHandler[Any]):
            closed = False

            def close(self) -> None:
                self.closed = True
                super().close()

        class Picky(Logger):
            def setup(self, cfg: Any) -> None:
                super().setup(cfg)
                self.error_log.addFilter(lambda record: False)
                if cfg.loglevel == "critical":
                    raise ConfigError("subclass does not like it")

        stream, cart_stream = io.StringIO(), io.StringIO()
        first = settings(
            logconfig_dict={
                **tagged(stream, "A"),
                "handlers": {
                    "h": {
                        "()": Closing,
                        "stream": stream,
                        "formatter": "f",
                    }
                },
            },
            accesslog=str(tmp_path / "a"),
        )
        log: Logger = (Picky if broken == "subclass" else Logger)(first)
        log.error_log.filters.clear()
        cart = logging.getLogger("shop.cart")
        cart.addHandler(logging.StreamHandler(cart_stream))
        cart.propagate = False
        cart.setLevel(logging.WARNING)
        handlers = list(log.error_log.handlers), list(log.access_log.handlers)
        open_files = len(list(Path("/proc/self/fd").iterdir()))

        (tmp_path / "bad.json").write_text("{")
        (tmp_path / "bad.ini").write_text("[loggers]\nkeys=root\n")
        half = {
            "version": 1,
            "handlers": {"new": {"class": "logging.FileHandler", "filename": tmp_path / "new"}},
            "root": {"handlers": ["new"], "level": "DEBUG"},
            "loggers": {
                "shop.cart": {"handlers": ["new"], "level": "DEBUG"},
                "gunicorn.error": {"handlers": ["nowhere"]},
            },
        }
        second = settings(
            loglevel="critical",
            accesslog=str(tmp_path / "b"),
            **{
                "unwritable": {"errorlog": str(tmp_path / "none" / "e")},
                "dict": {"logconfig_dict": {"version": 7}},
                "json": {"logconfig_json": str(tmp_path / "bad.json")},
                "ini": {"logconfig": str(tmp_path / "bad.ini")},
                "half": {"logconfig_dict": half},
                "subclass": {},
            }[broken],
        )
        with pytest.raises(ConfigError) as failure:
            reconfigure(log, second)
        assert "\n" not in str(failure.value) and str(failure.value)

        assert log.cfg is first
        assert (log.error_log.handlers, log.access_log.handlers) == handlers
        assert log.error_log.level == log.error_log.getEffectiveLevel() == logging.DEBUG
        assert log.error_log.filters == []
        assert log.error_log.handlers[0].closed is False  # type: ignore[attr-defined]
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files
        log.debug("as before")
        assert stream.getvalue() == "A:DEBUG:as before\n"
        cart.info("too low")
        cart.warning("stays")
        assert cart_stream.getvalue() == "stays\n"
        log.access_log.info("still here")
        assert (tmp_path / "a").read_text() == "still here\n"
        # And the next good one counts.
        log.setup(settings(errorlog=str(tmp_path / "good")))
        log.error_log.filters.clear()
        log.error("good")
        assert (tmp_path / "good").read_text().endswith("good\n")

    def test_a_failed_start_leaves_nothing(self, settings: Any, tmp_path: Path) -> None:
        error_log = logging.getLogger("gunicorn.error")
        before = list(error_log.handlers)
        with pytest.raises(ConfigError):
            Logger(settings(accesslog=str(tmp_path)))
        assert error_log.handlers == before


class TestErrors:
    @pytest.mark.parametrize("setting", ["errorlog", "accesslog"])
    @pytest.mark.parametrize("where", ["missing/log", "."])
    def test_an_unwritable_file_is_named(
        self, setting: str, where: str, settings: Any, tmp_path: Path
    ) -> None:
        path = str(tmp_path / where)
        with pytest.raises(ConfigError) as failure:
            Logger(settings(**{setting: path}))
        assert str(failure.value).startswith(f"{setting}: {path!r} isn't writable: ")

    @pytest.mark.parametrize(
        ("setting", "content", "reason"),
        [
            ("logconfig", None, "cannot be read: No such file"),
            ("logconfig", "", "section or entry 'formatters' is missing"),
            ("logconfig", "nonsense", "no section headers"),
            ("logconfig_json", None, "cannot be read: No such file"),
            ("logconfig_json", "{", "not valid JSON"),
            ("logconfig_json", "[]", "a mapping is needed, not list"),
            ("logconfig_json", '{"version": 2}', "Unsupported version"),
            (
                "logconfig_json",
                '{"handlers": {"console": {"class": "no.such.Handler"}, "error_console": '
                '{"class": "logging.NullHandler"}}}',
                "No module named 'no'",
            ),
        ],
    )
    def test_an_unusable_configuration_says_why(
        self, setting: str, content: str | None, reason: str, settings: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "log.conf"
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError) as failure:
            Logger(settings(**{setting: str(path)}))
        message = str(failure.value)
        assert message.startswith(setting)
        assert repr(str(path)) in message
        assert reason in message


class TestLogConfiguration:
    def test_precedence(self, settings: Any, tmp_path: Path) -> None:
        paths = {name: tmp_path / name for name in ("dict", "json", "ini")}

        def mapping(name: str) -> dict[str, Any]:
            stream = {"class": "logging.FileHandler", "filename": str(paths[name])}
            return {**tagged(None, name), "handlers": {"h": {**stream, "formatter": "f"}}}

        (tmp_path / "c.json").write_text(json.dumps(mapping("json")))
        (tmp_path / "c.ini").write_text(
            textwrap.dedent(
                """
                [loggers]
                keys=root,error
                [handlers]
                keys=h
                [formatters]
                keys=f
                [logger_root]
                handlers=
                [logger_error]
                qualname=gunicorn.error
                handlers=h
                propagate=0
                [handler_h]
                class=FileHandler
                args=(%(here)r + '/ini',)
                formatter=f
                [formatter_f]
                format=ini:%(levelname)s:%(message)s
                """
            ).replace("%(here)r", "'%(here)s'")
        )
        everything = {
            "logconfig_dict": mapping("dict"),
            "logconfig_json": str(tmp_path / "c.json"),
            "logconfig": str(tmp_path / "c.ini"),
        }
        for name, setting in (
            ("dict", "logconfig_dict"),
            ("json", "logconfig_json"),
            ("ini", "logconfig"),
        ):
            log = Logger(settings(**everything))
            log.error("said")
            assert {other: path.read_text() for other, path in paths.items() if path.exists()} == {
                name: f"{name}:ERROR:said\n"
            }
            paths[name].unlink()
            everything[setting] = None

    def test_the_defaults_show_through(self, settings: Any) -> None:
        """What the operator leaves out comes from the defaults, key by key at the top."""
        script = """
            from monoceros.logging import Logger
            from types import SimpleNamespace
            cfg = SimpleNamespace(loglevel="info", errorlog="-", accesslog=None, syslog=False,
                access_log_format="%(h)s", capture_output=False, logconfig=None,
                logconfig_json=None, disable_redirect_access_to_syslog=False, user=0, group=0,
                logconfig_dict={"formatters": {"generic": {"format": "<%(name)s %(message)s>"}}})
            log = KIND(cfg)
            log.error("e")
            log.access_log.info("a")
        """
        outputs = []
        for kind in ("Logger", "__import__('gunicorn.glogging').glogging.Logger"):
            done = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(script).replace("KIND", kind)],
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            )
            outputs.append((done.stdout, done.stderr))
        assert outputs[0] == outputs[1]
        assert outputs[0][1] == "<gunicorn.error e>\n"

    def test_the_given_dictionary_is_not_changed(self, settings: Any) -> None:
        class Upper(logging.Formatter):
            pass

        given = tagged(io.StringIO(), "A")
        given["formatters"]["f"] = {"()": Upper, "fmt": "%(message)s"}
        kept = {**given, "formatters": {"f": dict(given["formatters"]["f"])}}
        for _ in range(2):
            Logger(settings(logconfig_dict=given))
        assert given == kept
        assert CONFIG_DEFAULTS == glogging.CONFIG_DEFAULTS

    def test_incremental(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(
            settings(
                errorlog=str(tmp_path / "e"),
                logconfig_dict={
                    "incremental": True,
                    "handlers": {},
                    "root": {},
                    "loggers": {"gunicorn.error": {"level": "ERROR"}},
                },
            )
        )
        log.warning("below")
        log.error("above")
        assert "below" not in (tmp_path / "e").read_text()
        assert "above" in (tmp_path / "e").read_text()

    def test_handlers_of_others_stay_open(self, settings: Any, tmp_path: Path) -> None:
        shop = logging.getLogger("shop")
        handler = logging.FileHandler(tmp_path / "shop", mode="w")
        shop.addHandler(handler)
        shop.warning("before")
        Logger(settings(logconfig_dict=tagged(io.StringIO(), "A")))
        shop.warning("after")
        assert (tmp_path / "shop").read_text() == "before\nafter\n"

    @pytest.mark.parametrize(
        "formatter",
        ["pythonjsonlogger.json.JsonFormatter", "pythonjsonlogger.jsonlogger.JsonFormatter"],
    )
    def test_json_lines_by_ini(self, formatter: str, tmp_path: Path) -> None:
        (tmp_path / "logging.ini").write_text(
            textwrap.dedent(
                f"""
                [loggers]
                keys=root, gunicorn.error, gunicorn.access

                [handlers]
                keys=console

                [formatters]
                keys=json

                [logger_root]
                level=INFO
                handlers=console

                [logger_gunicorn.error]
                level=ERROR
                handlers=console
                propagate=0
                qualname=gunicorn.error

                [logger_gunicorn.access]
                level=ERROR
                handlers=console
                propagate=0
                qualname=gunicorn.access

                [handler_console]
                class=StreamHandler
                formatter=json
                args=(sys.stderr, )

                [formatter_json]
                class={formatter}
                format=%(asctime)s %(levelname)s %(name)s %(message)s
                """
            )
        )
        script = """
            import sys
            from monoceros.logging import Logger
            from types import SimpleNamespace
            cfg = SimpleNamespace(loglevel="info", errorlog="-", accesslog=None, syslog=False,
                access_log_format="%(h)s %(s)s", capture_output=False, logconfig="logging.ini",
                logconfig_json=None, logconfig_dict={}, user=0, group=0,
                disable_redirect_access_to_syslog=False)
            log = Logger(cfg)
            log.info("not at this level")
            log.error("wrong: %s", "disk")
            assert log.access_log_enabled
            log.access(None, None, {}, None)
        """
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd=tmp_path,
        )
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        entry = json.loads(line)
        assert entry.pop("asctime")
        assert entry == {
            "levelname": "ERROR",
            "name": "gunicorn.error",
            "message": "wrong: disk",
        }
