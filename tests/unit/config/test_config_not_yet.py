"""Gunicorn's settings that this release has not got."""

import logging
from typing import Any

import pytest

from monoceros.config import Config
from monoceros.config.not_yet import NOT_YET, Fate
from monoceros.errors import ConfigError

MISSING = "is not supported by this release"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http2_cleartext", False),
        ("http2_cleartext", None),
        ("http_protocols", "h1"),
        ("http_protocols", ["h1"]),
    ],
)
def test_a_value_that_asks_for_nothing_passes_in_silence(
    name: str, value: Any, cfg: Config, caplog: pytest.LogCaptureFixture
) -> None:
    cfg.set(name, value)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssl_context", lambda conf, factory: None),
    ],
)
def test_a_value_that_safety_depends_on_is_refused(name: str, value: Any, cfg: Config) -> None:
    with pytest.raises(ConfigError, match=f"^{name} {MISSING}"):
        cfg.set(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_protocols", "h2,h1"),
    ],
)
def test_another_value_is_warned_about_in_one_line(
    name: str, value: Any, cfg: Config, caplog: pytest.LogCaptureFixture
) -> None:
    cfg.set(name, value)
    (record,) = caplog.records
    assert record.name == "gunicorn.error"
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{name} {MISSING} and has no effect")
    assert "\n" not in record.getMessage()


def test_reading_one_tells_what_the_server_does(cfg: Config) -> None:
    assert cfg.http2_cleartext == "off"


class TestCommandLine:
    @pytest.mark.parametrize(
        "line",
        [
            "app --http2-cleartext prior-knowledge",
        ],
    )
    def test_is_refused_by_name(
        self, line: str, cfg: Config, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            cfg.parser().parse_args(line.split())
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("usage: monoceros [OPTIONS] [APP_MODULE]\n")
        assert "not supported by this release" in error
        assert "unrecognized" not in error

    @pytest.mark.parametrize(
        "line",
        [
            "--http2-max-header-list-size 1 app",
            "--http2-max-hea 1 app",
            "app --http2-initial-window-size 1",
            "--http2-max-frame-size=20000 app",
            "app --http-protocols h2,h1",
        ],
    )
    def test_a_harmless_one_is_warned_about(
        self, line: str, cfg: Config, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert cfg.parser().parse_args(line.split()).args == ["app"]
        (record,) = caplog.records
        assert MISSING in record.getMessage()

    @pytest.mark.parametrize(
        "line",
        [
            "--http-protocols h1 app",
            "--http2-max-frame-size 16384 app",
        ],
    )
    def test_one_that_asks_for_nothing_passes(
        self, line: str, cfg: Config, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert cfg.parser().parse_args(line.split()).args == ["app"]
        assert caplog.records == []

    def test_they_are_not_in_the_help(self, cfg: Config) -> None:
        text = cfg.parser().format_help()
        for entry in NOT_YET.values():
            for flag in entry.cli:
                assert f"{flag} " not in text


def test_every_refusal_on_the_command_line_is_one_in_a_config_file() -> None:
    # Who moves an option from one to the other must not lose its safety.
    for entry in NOT_YET.values():
        if entry.name.startswith(("ssl", "cert", "key", "ca_")):
            assert entry.fate is Fate.REFUSED, entry.name
