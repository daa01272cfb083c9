"""The table of settings beside that of the installed Gunicorn.

Every difference stands in `DIFFERENCES` with its reason; a new one is found here.
"""

from typing import Any

import pytest

from monoceros.config import Config, Setting
from monoceros.config.not_yet import NOT_YET
from monoceros.config.validators import auto_int, seconds

peer = pytest.importorskip("gunicorn.config", reason="gunicorn is not installed")

#: (setting, attribute): (our value, why it is not Gunicorn's).
DIFFERENCES: dict[tuple[str, str], tuple[Any, str]] = {
    ("config", "default"): ("./monoceros.conf.py", "Gunicorn's name is read where it is absent"),
    ("keepalive", "default"): (75, "proxies and load balancers idle at 60 s"),
    ("logger_class", "default"): ("monoceros.logging.Logger", "our class, with its contract"),
    ("default_proc_name", "default"): ("monoceros", "our name"),
    ("user", "default"): (None, "whether one is asked for decides whose group it is"),
    ("group", "default"): (None, "the same; cfg.user and cfg.group are ids as in Gunicorn"),
}

#: Settings that Gunicorn has not got, with their flags.
OWN = {
    "boot_timeout": ["--boot-timeout"],
    "request_timeout": ["--request-timeout"],
    "respawn_backoff": ["--respawn-backoff"],
    "header_timeout": ["--header-timeout"],
    "body_timeout": ["--body-timeout"],
    "write_timeout": ["--write-timeout"],
    "body_buffer": ["--body-buffer"],
    "spool_dir": ["--spool-dir"],
    "trusted_proxy_headers": ["--trusted-proxy-headers"],
    "handshake_timeout": ["--handshake-timeout"],
    "sni_certs": ["--sni-cert"],
    "keyfile_password": [],
    "limit_request_body": ["--limit-request-body"],
    "body_min_rate": ["--body-min-rate"],
    "queue_timeout": ["--queue-timeout"],
    "access_log_json": ["--access-log-json"],
}


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    settings: dict[str, Any] = peer.make_settings()
    return settings


def test_every_name_of_gunicorns_is_known(cfg: Config, theirs: dict[str, Any]) -> None:
    assert set(theirs) == (set(cfg.settings) - set(OWN)) | set(NOT_YET)
    assert not set(cfg.settings) & set(NOT_YET)


def test_own_settings_have_their_flags(cfg: Config) -> None:
    assert {name: list(cfg.settings[name].cli) for name in OWN} == OWN


def shared() -> list[str]:
    return [name for name in Config().settings if name not in OWN]


def describe_type(function: Any) -> str:
    """By meaning: our converters and Gunicorn's are different functions."""
    if function is None or function is callable:
        return "text"
    if function is auto_int or getattr(function, "__name__", "") == "auto_int":
        return "integer, C octal"
    return "seconds" if function is seconds else str(function.__name__)


@pytest.mark.parametrize("name", shared())
def test_a_shared_setting_is_gunicorns(name: str, cfg: Config, theirs: dict[str, Any]) -> None:
    ours: Setting = cfg.settings[name]
    theirs_one = theirs[name]
    for attribute, mine, other in (
        ("cli", list(ours.cli), list(theirs_one.cli or [])),
        ("action", ours.action, theirs_one.action or "store"),
        ("nargs", ours.nargs, theirs_one.nargs),
        ("const", ours.const, theirs_one.const),
        ("section", ours.section, theirs_one.section),
        ("type", describe_type(ours.type), describe_type(theirs_one.type)),
        ("default", comparable(ours.get()), comparable(theirs_one.get())),
    ):
        expected = DIFFERENCES.get((name, attribute), (other, ""))[0]
        assert mine == expected, attribute


def comparable(value: Any) -> Any:
    return "a function" if callable(value) else value


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_a_setting_that_is_not_there_yet_has_gunicorns_flags_and_default(
    name: str, cfg: Config, theirs: dict[str, Any]
) -> None:
    entry = NOT_YET[name]
    setting = theirs[name]
    assert list(entry.cli) == list(setting.cli or [])
    assert entry.boolean == (setting.action == "store_true")
    assert entry.appended == (setting.action == "append")
    assert entry.hook == callable(setting.get())
    if name == "control_socket_disable":
        return  # here there is none
    if not entry.hook:
        assert entry.asks_for_nothing(setting.get()) or name == "control_socket"
        if entry.default is not None:
            assert getattr(cfg, name) == setting.get()


def test_both_parse_a_long_command_line_alike(cfg: Config) -> None:
    line = (
        "--log-config a.cfg -b 127.0.0.1:1 -b unix:/x -w 3 -k gthread --threads 4 -t 5 "
        "--keep-alive 6 --limit-request-field_size 100 --access-logfile - --log-file x "
        "--no-sendfile --preload -e A=1 --env B=2 -m 0022 -n shop -p pid --graceful 9 "
        "--worker-conn 7 wsgi:app --pythonpath a,b"
    )
    ours = vars(cfg.parser().parse_args(line.split()))
    theirs = vars(peer.Config(prog="gunicorn").parser().parse_args(line.split()))
    own = dict.fromkeys(name for name, flags in OWN.items() if flags)
    expected = own | {name: theirs[name] for name in ours if name not in OWN}
    assert ours == expected
