"""What values settings may have."""

import functools
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monoceros.config import Config
from monoceros.config import validators as v
from monoceros.errors import ConfigError
from support.privileges import without_privileges


@pytest.mark.parametrize(
    ("validator", "value", "kept"),
    [
        (v.validate_bool, None, None),
        (v.validate_bool, True, True),
        (v.validate_bool, " TRUE ", True),
        (v.validate_bool, "False", False),
        (v.validate_pos_int, 0, 0),
        (v.validate_pos_int, True, 1),
        (v.validate_pos_int, "0x10", 16),
        (v.validate_pos_int, " 12 ", 12),
        (v.validate_seconds, 3, 3),
        (v.validate_seconds, 0.25, 0.25),
        (v.validate_seconds, "1.5", 1.5),
        (v.validate_string, None, None),
        (v.validate_string, "  a b ", "a b"),
        (v.validate_list_string, None, []),
        (v.validate_list_string, "", []),
        (v.validate_list_string, " a ", ["a"]),
        (v.validate_list_string, (" a ", "b"), ["a", "b"]),
        (v.validate_environment, ["A=1", "B="], ["A=1", "B="]),
        (v.validate_environment, "A=b=c", ["A=b=c"]),
        (v.validate_dict, {"a": 1}, {"a": 1}),
        (v.validate_log_level, "WARNING", "warning"),
        (v.validate_class, " a.B ", "a.B"),
        (v.validate_class, int, int),
        (v.validate_class, lambda: int, int),
        (v.auto_int, "0022", 18),
        (v.auto_int, "22", 22),
        (v.auto_int, "0", 0),
        (v.auto_int, "0o22", 18),
        (v.auto_int, "0x12", 18),
        (v.validate_mode, None, None),
        (v.validate_mode, 0o660, 0o660),
        (v.validate_mode, " 0660 ", 0o660),
        (v.validate_mode, "0o600", 0o600),
        (v.validate_mode, "770", 0o770),
    ],
)
def test_keeps(validator: Any, value: Any, kept: Any) -> None:
    result = validator(value)
    assert result == kept
    assert type(result) is type(kept)


@pytest.mark.parametrize(
    ("validator", "value", "error"),
    [
        (v.validate_bool, "yes", ValueError),
        (v.validate_bool, 1, TypeError),
        (v.validate_pos_int, -1, ValueError),
        (v.validate_pos_int, "022", ValueError),
        (v.validate_pos_int, "x", ValueError),
        (v.validate_pos_int, 1.5, TypeError),
        (v.validate_pos_int, None, TypeError),
        (v.validate_seconds, -0.1, ValueError),
        (v.validate_seconds, "nan", ValueError),
        (v.validate_seconds, float("inf"), ValueError),
        (v.validate_seconds, "x", ValueError),
        (v.validate_seconds, None, TypeError),
        (v.validate_string, 1, TypeError),
        (v.validate_string, b"x", TypeError),
        (v.validate_list_string, 1, TypeError),
        (v.validate_list_string, ["a", 1], TypeError),
        (v.validate_list_string, ["a", None], TypeError),
        (v.validate_environment, ["A"], ValueError),
        (v.validate_environment, ["=1"], ValueError),
        (v.validate_environment, ["A=\0"], ValueError),
        (v.validate_dict, [], TypeError),
        (v.validate_log_level, "loud", ValueError),
        (v.validate_mode, "890", ValueError),
        (v.validate_mode, 0o1777, ValueError),
        (v.validate_mode, True, TypeError),
        (v.validate_log_level, None, ValueError),
        (v.validate_class, 1, TypeError),
        (v.validate_class, "", ValueError),
        (v.validate_class, lambda: 1, TypeError),
        (v.auto_int, "089", ValueError),
    ],
)
def test_refuses(validator: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        validator(value)


def test_a_list_is_copied() -> None:
    given = ["a"]
    kept = v.validate_list_string(given)
    kept.append("b")
    assert given == ["a"]


def test_an_error_names_the_setting(cfg: Config) -> None:
    with pytest.raises(ValueError, match=r"^workers: must be 0 or more, not -3$"):
        cfg.set("workers", -3)
    with pytest.raises(TypeError, match=r"^pidfile: must be text, not 3$"):
        cfg.set("pidfile", 3)
    assert cfg.workers == 1


def test_a_level_that_is_nearly_one_is_suggested(cfg: Config) -> None:
    with pytest.raises(ValueError, match=r"loglevel: .*'warnung'; did you mean 'warning'\?"):
        cfg.set("loglevel", "warnung")


def test_pythons_other_names_of_levels_mean_what_they_mean_there(cfg: Config) -> None:
    for name, level in (("warn", "warning"), ("WARN", "warning"), ("fatal", "critical")):
        cfg.set("loglevel", name)
        assert cfg.loglevel == level


class TestFolders:
    def test_relative_ones_become_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "site").mkdir()
        monkeypatch.chdir(tmp_path)
        assert v.validate_chdir("site") == str(tmp_path / "site")
        assert v.validate_folder("site") == str(tmp_path / "site")
        assert v.validate_folder(None) is None

    def test_missing_ones_are_named(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing")
        for validate in (v.validate_chdir, v.validate_folder):
            with pytest.raises(ConfigError, match=r"missing.*no such folder"):
                validate(missing)

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="no such folder"):
            v.validate_chdir(str(tmp_path / "file"))

    def test_forbidden_ones_are_named(self) -> None:
        # Not in tmp_path: nobody else may look into the folders above that.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0)
            with pytest.raises(ConfigError, match="permission denied"), without_privileges():
                v.validate_chdir(folder)


class Hooks:
    def method(self, server: Any, worker: Any) -> None: ...

    def __call__(self, server: Any, worker: Any) -> None: ...


def two(server: Any, worker: Any) -> None: ...


def three_with_default(server: Any, worker: Any, extra: Any = None) -> None: ...


class TestCallables:
    @pytest.mark.parametrize(
        "function",
        [
            two,
            three_with_default,
            lambda *args: None,
            lambda a, b, *, c=1: None,
            Hooks().method,
            Hooks(),
            functools.partial(lambda a, b, c: None, 1),
        ],
    )
    def test_accepts_what_can_be_called_with_as_many_arguments(self, function: Any) -> None:
        assert v.validate_callable(2)(function) is function

    @pytest.mark.parametrize(
        "function",
        [lambda: None, lambda a: None, lambda a, b, c: None, lambda a, b, *, c: None, 1, None],
    )
    def test_refuses_others(self, function: Any) -> None:
        with pytest.raises(TypeError):
            v.validate_callable(2)(function)

    def test_minus_one_checks_no_arity(self) -> None:
        assert v.validate_callable(-1)(two) is two

    def test_imports_by_name(self) -> None:
        assert v.validate_callable(1)("os.path.basename") is os.path.basename

    @pytest.mark.parametrize("path", ["basename", "os.path.nothing", "no.such.module", "os.sep"])
    def test_a_bad_name_is_a_type_error(self, path: str) -> None:
        with pytest.raises(TypeError):
            v.validate_callable(1)(path)


class TestPostRequest:
    @pytest.mark.parametrize(
        ("function", "seen"),
        [
            (lambda worker, req: (worker, req), (1, 2)),
            (lambda worker, req, environ: (worker, req, environ), (1, 2, 3)),
            (lambda worker, req, environ, resp: (worker, req, environ, resp), (1, 2, 3, 4)),
            (lambda *args: args, (1, 2, 3, 4)),
        ],
    )
    def test_gets_as_much_as_it_takes(self, function: Any, seen: Any) -> None:
        hook = v.validate_post_request(function)
        assert hook(1, 2, 3, 4) == seen
        # Validating the result again, as when a value is copied, changes nothing.
        assert v.validate_post_request(hook)(1, 2, 3, 4) == seen

    @pytest.mark.parametrize("function", [lambda a: None, lambda a, b, c, d, e: None, 3])
    def test_refuses_others(self, function: Any) -> None:
        with pytest.raises(TypeError):
            v.validate_post_request(function)


def test_the_default_pre_request_logs_method_and_path(cfg: Config) -> None:
    lines = []
    log = SimpleNamespace(debug=lambda text, *args: lines.append(text % args))
    cfg.pre_request(SimpleNamespace(log=log), SimpleNamespace(method="GET", path="/a"))
    assert lines == ["GET /a"]


def test_a_default_hook_can_be_told_from_another(cfg: Config) -> None:
    assert cfg.settings["pre_request"].is_default
    assert cfg.settings["post_request"].is_default
    cfg.set("pre_request", two)
    cfg.set("post_request", lambda worker, req: None)
    assert not cfg.settings["pre_request"].is_default
    assert not cfg.settings["post_request"].is_default
