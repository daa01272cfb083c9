"""The settings of the uwsgi protocol."""

import pytest

from monoceros.config import Config
from monoceros.config.settings.uwsgi import announcement


@pytest.mark.parametrize("value", ["uwsgi", "UWSGI", " uwsgi "])
def test_protocol(value: str, cfg: Config) -> None:
    assert cfg.protocol == "http"
    cfg.set("protocol", value)
    assert cfg.protocol == "uwsgi"


@pytest.mark.parametrize("value", ["uwgsi", "fastcgi", "", "http,uwsgi"])
def test_a_protocol_that_nobody_speaks_is_an_error(value: str, cfg: Config) -> None:
    """Gunicorn takes any other text for http."""
    with pytest.raises(ValueError, match=r"^protocol: must be one of http, uwsgi, not"):
        cfg.set("protocol", value)


def test_flags(cfg: Config) -> None:
    line = ["--protocol", "uwsgi", "--uwsgi-allow-from", "10.0.0.0/8", "app"]
    parsed = cfg.parser().parse_args(line)
    assert (parsed.protocol, parsed.uwsgi_allow_ips) == ("uwsgi", "10.0.0.0/8")


def test_the_announcement_tells_who_and_how(cfg: Config) -> None:
    cfg.set("protocol", "uwsgi")
    assert announcement(cfg) == (
        "The listeners speak uwsgi; unix sockets and these peers may use it (uwsgi_allow_ips): "
        "127.0.0.1, ::1"
    )
    cfg.set("uwsgi_allow_ips", "")
    cfg.set("proxy_protocol", "v2")
    cfg.set("certfile", "server.pem")
    text = announcement(cfg)
    assert text.startswith("The listeners speak uwsgi over TLS behind a PROXY protocol header;")
    assert text.endswith(": nobody")
