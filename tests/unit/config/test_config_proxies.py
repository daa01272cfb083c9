"""Settings about proxies in front, and switches that let unusual requests in."""

import ipaddress
from typing import Any

import pytest

from monoceros.config import Config
from monoceros.config.settings.permissions import PERMISSIONS, warnings
from monoceros.errors import ConfigError
from monoceros.workers.engined import normalized


@pytest.mark.parametrize("name", ["forwarded_allow_ips", "proxy_allow_ips", "uwsgi_allow_ips"])
def test_networks(name: str, cfg: Config) -> None:
    assert getattr(cfg, name) == ["127.0.0.1", "::1"]
    for value, kept in [
        ("*", ["*"]),
        ("", []),
        (None, []),
        ("10.0.0.0/8 , 192.0.2.1,", ["10.0.0.0/8", "192.0.2.1"]),
        (["2001:db8::/32"], ["2001:db8::/32"]),
    ]:
        cfg.set(name, value)
        assert getattr(cfg, name) == kept
    for bad in (
        "localhost",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8;10.1.0.0/16",
        "1.2.3",
        "fe80::1%eth0",
    ):
        with pytest.raises(ValueError, match=f"^{name}: must list IP addresses"):
            cfg.set(name, bad)


def test_networks_as_gunicorn_gives_them(cfg: Config) -> None:
    cfg.set("forwarded_allow_ips", "*,10.0.0.0/8,::1")
    assert cfg.forwarded_allow_networks() == [
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1"),
    ]
    assert ipaddress.ip_network("127.0.0.1") in cfg.proxy_allow_networks()
    assert normalized(["*", "10.0.0.0/255.0.0.0", "::1"]) == ["*", "10.0.0.0/8", "::1/128"]


def test_forwarded_allow_ips_from_the_environment() -> None:
    cfg = Config(environ={"FORWARDED_ALLOW_IPS": "10.0.0.0/8"})
    assert cfg.forwarded_allow_ips == ["10.0.0.0/8"]
    with pytest.raises(ConfigError, match="environment variable FORWARDED_ALLOW_IPS must list"):
        Config(environ={"FORWARDED_ALLOW_IPS": "proxy.internal"})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("off", "off"),
        (False, "off"),
        (None, "off"),
        ("0", "off"),
        ("none", "off"),
        ("False", "off"),
        (True, "auto"),
        ("1", "auto"),
        ("true", "auto"),
        (" AUTO ", "auto"),
        ("v1", "v1"),
        ("V2", "v2"),
    ],
)
def test_proxy_protocol(value: Any, kept: str, cfg: Config) -> None:
    cfg.set("proxy_protocol", value)
    assert cfg.proxy_protocol == kept


def test_proxy_protocol_that_has_swallowed_the_app(cfg: Config) -> None:
    parse = cfg.parser().parse_args
    assert parse(["--proxy-protocol"]).proxy_protocol == "auto"
    assert parse(["app:app", "--proxy-protocol"]).proxy_protocol == "auto"
    swallowed = parse(["--proxy-protocol", "app:app"]).proxy_protocol
    with pytest.raises(ValueError, match="the app must not come right after a --proxy-protocol"):
        cfg.set("proxy_protocol", swallowed)
    with pytest.raises(TypeError, match=r"^proxy_protocol: must be one of off, v1, v2, auto"):
        cfg.set("proxy_protocol", 1)


def test_trusted_proxy_headers(cfg: Config) -> None:
    assert cfg.trusted_proxy_headers == []
    cfg.set("trusted_proxy_headers", "X-Forwarded-For, x-forwarded-host")
    assert cfg.trusted_proxy_headers == ["x-forwarded-for", "x-forwarded-host"]
    cfg.set("trusted_proxy_headers", ["Forwarded"])
    assert cfg.trusted_proxy_headers == ["forwarded"]
    with pytest.raises(ValueError, match="did you mean 'x-forwarded-for'"):
        cfg.set("trusted_proxy_headers", "x-forwarded-fro")
    with pytest.raises(ValueError, match="either forwarded or headers that begin"):
        cfg.set("trusted_proxy_headers", "forwarded,x-forwarded-for")


def test_header_settings(cfg: Config) -> None:
    assert cfg.forwarder_headers == ["SCRIPT_NAME", "PATH_INFO"]
    assert cfg.header_map == "drop"
    cfg.set("header_map", "Refuse")
    assert cfg.header_map == "refuse"
    with pytest.raises(ValueError, match=r"^header_map: must be one of drop, refuse, dangerous"):
        cfg.set("header_map", "pass")
    with pytest.raises(TypeError, match=r"^secure_scheme_headers: must map names to values"):
        cfg.set("secure_scheme_headers", {"X-SSL": 1})
    with pytest.raises(TypeError, match=r"^secure_scheme_headers"):
        cfg.set("secure_scheme_headers", "X-SSL")


def test_each_permission_is_explained_in_one_line(cfg: Config) -> None:
    assert warnings(cfg) == []
    for name in PERMISSIONS:
        assert getattr(cfg, name) is False
        cfg.set(name, True)
    cfg.set("header_map", "dangerous")
    lines = warnings(cfg)
    assert [line.split()[0] for line in lines] == [*PERMISSIONS, "header_map"]
    assert not any("\n" in line for line in lines)
    cfg.set("permit_unconventional_http_method", False)
    assert "has no effect without permit_unconventional_http_method" in "".join(warnings(cfg))
