"""Fixtures for the configuration's tests: no environment but the one a test makes."""

import pytest

from monoceros.config import Config

#: Whatever the developer's shell has set of these must not reach a test.
VARIABLES = (
    "PORT",
    "WEB_CONCURRENCY",
    "SENDFILE",
    "MONOCEROS_CMD_ARGS",
    "GUNICORN_CMD_ARGS",
    "FORWARDED_ALLOW_IPS",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cfg() -> Config:
    return Config("%(prog)s [OPTIONS] [APP_MODULE]", "monoceros")
