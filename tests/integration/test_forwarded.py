"""Whose headers count: proxies that are trusted, clients that pretend to be one."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from support.client import Connection, format_request
from support.server import Server
from support.serving import Serve

INVALID = "Invalid request from ip="

#: As peers of 127.0.0.1, in `forwarded_allow_ips` or not.
TRUSTED: tuple[str, ...] = ()
STRANGER = ("--forwarded-allow-ips", "192.0.2.1")

#: An X-Forwarded-For of a proxy that appends, and what its client had written before.
CHAIN = ("--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")

Fields = Sequence[tuple[str, str]]


def environ_of(connection: Connection, fields: Fields, target: str = "/environ") -> dict[str, Any]:
    connection.send(format_request(target=target, fields=fields))
    response = connection.read_response()
    assert response.status == 200, response
    shown = json.loads(response.body)["environ"]
    return {key: value for key, (_, value) in shown.items()}


def environ(server: Server, fields: Fields, target: str = "/environ") -> dict[str, Any]:
    """What the app sees of a request on a connection of its own."""
    with server.connect() as connection:
        return environ_of(connection, fields, target)


SECURE = [
    [("X-Forwarded-Proto", "https")],
    [("x-forwarded-protocol", "ssl")],
    [("X-FORWARDED-SSL", "on")],
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on")],
]


def test_the_scheme_is_what_a_trusted_proxy_says(serve: Serve) -> None:
    server = serve("probes:app", *TRUSTED)
    with server.connect() as connection:
        for fields in SECURE:
            assert environ_of(connection, fields)["wsgi.url_scheme"] == "https"
            # It holds for one request of a connection.
            assert environ_of(connection, [])["wsgi.url_scheme"] == "http"
        for value in ("http", "HTTPS", "https, http", ""):
            found = environ_of(connection, [("X-Forwarded-Proto", value)])
            assert found["wsgi.url_scheme"] == "http"
            assert found["HTTP_X_FORWARDED_PROTO"] == value


def test_contradictory_schemes_are_refused(serve: Serve) -> None:
    server = serve("probes:app", *TRUSTED)
    server.expect_log(f"{INVALID}127.0.0.1: .*secure_scheme_headers.*scheme-contradiction")
    for fields in (
        [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")],
        [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")],
    ):
        assert server.exchange("POST", "/received", fields, b"body").status == 400
    assert not server.events("called")


def test_headers_of_the_operators_own_choice(serve: Serve) -> None:
    server = serve(config='secure_scheme_headers = {"Front-End-Https": "On"}')
    assert environ(server, [("front-end-https", "On")])["wsgi.url_scheme"] == "https"
    assert environ(server, [("X-Forwarded-Proto", "https")])["wsgi.url_scheme"] == "http"
    server = serve(config='secure_scheme_headers = {"X_SCHEME": "https"}')
    assert environ(server, [("X_Scheme", "https")])["wsgi.url_scheme"] == "https"
    assert environ(server, [("X-Scheme", "https")])["wsgi.url_scheme"] == "http"


#: What a client may try to be taken for somebody else, by name; and what it must not change.
SPOOFS: dict[str, Fields] = {
    "scheme": [("X-Forwarded-Proto", "https")],
    "scheme-ssl": [("X-Forwarded-Ssl", "on")],
    "scheme-protocol": [("X-Forwarded-Protocol", "ssl")],
    "scheme-contradiction": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")],
    "address": [("X-Forwarded-For", "10.0.0.1")],
    "address-v6": [("X-Forwarded-For", "::1")],
    "address-list": [("X-Forwarded-For", "10.0.0.1, 127.0.0.1")],
    "address-rfc": [("Forwarded", "for=10.0.0.1;proto=https;host=evil.example")],
    "address-malformed": [("Forwarded", 'for="10.0.0.1')],
    "real-ip": [("X-Real-IP", "10.0.0.1")],
    "host": [("X-Forwarded-Host", "evil.example")],
    "port": [("X-Forwarded-Port", "443")],
    "server": [("X-Forwarded-Server", "evil.example")],
    "prefix": [("X-Forwarded-Prefix", "/environ")],
    "script-name": [("SCRIPT_NAME", "/environ")],
    "script-name-case": [("Script_Name", "/environ")],
    "script-name-hyphen": [("Script-Name", "/environ")],
    "path-info": [("PATH_INFO", "/fail")],
    "remote-user": [("REMOTE_USER", "admin")],
    "remote-addr": [("Remote-Addr", "10.0.0.1")],
    "underscores": [("X_Forwarded_For", "10.0.0.1"), ("X_FORWARDED_PROTO", "https")],
    "http-prefix": [("HTTP_X_FORWARDED_FOR", "10.0.0.1")],
}

#: What says who a client is, what it asked for, and by which way.
IDENTITY = (
    "REMOTE_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "HTTP_HOST",
    "SCRIPT_NAME",
    "PATH_INFO",
    "wsgi.url_scheme",
)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--trusted-proxy-headers", "x-forwarded-for,x-forwarded-host,x-forwarded-port"],
        ["--trusted-proxy-headers", "forwarded", "--forwarder-headers", "*"],
    ],
    ids=["default", "x-forwarded", "forwarded"],
)
def test_a_stranger_changes_nothing(serve: Serve, options: list[str]) -> None:
    """No header of a client that is no trusted proxy says who it is."""
    server = serve("probes:app", *STRANGER, *options)
    with server.connect() as connection:
        plain = environ_of(connection, [])
        port = str(connection.sock.getsockname()[1])
        for name, fields in SPOOFS.items():
            found = environ_of(connection, fields)
            for key in IDENTITY:
                assert found.get(key) == plain.get(key), (name, key)
            assert found["REMOTE_PORT"] == port, name
            added = found.keys() - plain.keys()
            assert all(key.startswith("HTTP_") for key in added), (name, added)
            # A name with an underscore never gets where the environ shows the other one.
            underscored = [field for field, _ in fields if "_" in field]
            assert not underscored or not added, (name, added)


def test_by_default_the_address_is_the_connections(serve: Serve) -> None:
    """As under Gunicorn: even a trusted proxy does not change REMOTE_ADDR by a header."""
    server = serve("probes:app", *TRUSTED)
    found = environ(
        server,
        [
            ("X-Forwarded-For", "203.0.113.7"),
            ("Forwarded", "for=203.0.113.7"),
            ("X-Forwarded-Host", "shop.example"),
        ],
    )
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["HTTP_HOST"] == "test.example"
    assert found["HTTP_X_FORWARDED_FOR"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("fields", "address", "port"),
    [
        ([], "127.0.0.1", "own"),
        ([("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", None),
        ([("X-Forwarded-For", "203.0.113.7:4711")], "203.0.113.7", "4711"),
        ([("X-Forwarded-For", "[2001:db8::7]:4711")], "2001:db8::7", "4711"),
        ([("X-Forwarded-For", "127.0.0.1, 10.1.1.1, 203.0.113.7")], "203.0.113.7", None),
        ([("X-Forwarded-For", "1.1.1.1, 203.0.113.7, 10.0.0.2, 10.0.0.3")], "203.0.113.7", None),
        ([("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.7")], "203.0.113.7", None),
        ([("X-Forwarded-For", "203.0.113.7, unknown")], "127.0.0.1", "own"),
        ([("X-Forwarded-For", "")], "127.0.0.1", "own"),
        ([("X_Forwarded_For", "203.0.113.7")], "127.0.0.1", "own"),
        ([("Forwarded", "for=203.0.113.7")], "127.0.0.1", "own"),
    ],
)
def test_the_client_behind_trusted_proxies(
    serve: Serve, fields: Fields, address: str, port: str | None
) -> None:
    """The right-most address that is no trusted proxy; the access log shows the same."""
    server = serve(
        "probes:app",
        *CHAIN,
        "--trusted-proxy-headers",
        "x-forwarded-for",
        "--access-logfile",
        "access.log",
        probe=None,
    )
    with server.connect() as connection:
        found = environ_of(connection, fields)
        own = str(connection.sock.getsockname()[1])
    assert found["REMOTE_ADDR"] == address
    assert found.get("REMOTE_PORT") == (own if port == "own" else port)
    server.stop()
    lines = (server.directory / "access.log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [address]


def test_where_everybody_is_trusted_only_the_last_entry_counts(serve: Serve) -> None:
    """`*` says who may speak, and nothing about those of whom they speak."""
    server = serve(
        "probes:app", "--forwarded-allow-ips", "*", "--trusted-proxy-headers", "x-forwarded-for"
    )
    found = environ(server, [("X-Forwarded-For", "10.0.0.1, 203.0.113.7")])
    assert found["REMOTE_ADDR"] == "203.0.113.7"


def test_forwarded_tells_address_scheme_and_host(serve: Serve) -> None:
    server = serve("probes:app", *CHAIN, "--trusted-proxy-headers", "Forwarded")
    server.expect_log(f"{INVALID}127.0.0.1: a malformed Forwarded field .*forwarded")
    spoof = "for=1.1.1.1;host=evil.example;proto=http, "
    value = spoof + 'for="203.0.113.7:99";proto=https;host="shop.example:8443", for=10.0.0.2'
    with server.connect() as connection:
        found = environ_of(connection, [("Forwarded", value)])
        assert found["REMOTE_ADDR"] == "203.0.113.7"
        assert found["REMOTE_PORT"] == "99"
        assert found["wsgi.url_scheme"] == "https"
        assert found["HTTP_HOST"] == "shop.example:8443"
        assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("shop.example", "8443")
        # The next request of the connection starts anew.
        found = environ_of(connection, [("X-Forwarded-For", "203.0.113.7")])
        assert found["REMOTE_ADDR"] == "127.0.0.1"
        assert found["REMOTE_PORT"] == str(connection.sock.getsockname()[1])
        assert found["HTTP_HOST"] == "test.example"
        assert found["wsgi.url_scheme"] == "http"
        # An open quote of the client's would hide what the proxy has appended.
        connection.send(format_request(fields=[("Forwarded", 'for="x, for=203.0.113.7')]))
        assert connection.read_response().status == 400


def test_forwarded_host_and_port(serve: Serve) -> None:
    named = "x-forwarded-host, X-Forwarded-Port"
    server = serve("probes:app", "--trusted-proxy-headers", named)
    server.expect_log(f"{INVALID}127.0.0.1: .*forwarded-(host|port)")
    with server.connect() as connection:
        host, port = ("X-Forwarded-Host", "shop.example"), ("X-Forwarded-Port", "8443")
        secure = ("X-Forwarded-Proto", "https")
        for fields, expected in [
            ([host], ("shop.example", "shop.example", "80")),
            ([host, secure], ("shop.example", "shop.example", "443")),
            ([host, port], ("shop.example:8443", "shop.example", "8443")),
            ([port], ("test.example:8443", "test.example", "8443")),
            ([secure, ("X-Forwarded-Port", "443")], ("test.example", "test.example", "443")),
            ([("X-Forwarded-Host", "evil, [::1]:81")], ("[::1]:81", "[::1]", "81")),
        ]:
            found = environ_of(connection, fields)
            shown = found["HTTP_HOST"], found["SERVER_NAME"], found["SERVER_PORT"]
            assert shown == expected, fields
            assert found["REMOTE_ADDR"] == "127.0.0.1"
    for field in [("X-Forwarded-Host", "a/b"), ("X-Forwarded-Port", "0x50")]:
        assert server.exchange("GET", "/", [field]).status == 400


def test_the_peer_of_a_unix_socket_is_trusted(serve: Serve) -> None:
    server = serve(
        "probes:app", *STRANGER, "--trusted-proxy-headers", "x-forwarded-for", bind="unix:app.sock"
    )
    with server.connect() as connection:
        found = environ_of(
            connection,
            [
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-For", "9.9.9.9, 203.0.113.7"),
                ("SCRIPT_NAME", "/environ"),
            ],
            "/environ/environ",
        )
    assert found["wsgi.url_scheme"] == "https"
    assert found["REMOTE_ADDR"] == "203.0.113.7"
    assert "REMOTE_PORT" not in found
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("test.example", "443")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/environ", "/environ")


def test_trust_comes_from_the_environment_too(serve: Serve) -> None:
    server = serve(env={"FORWARDED_ALLOW_IPS": "192.0.2.1,192.0.2.8/29"})
    assert environ(server, [("X-Forwarded-Proto", "https")])["wsgi.url_scheme"] == "http"
    server = serve(env={"FORWARDED_ALLOW_IPS": "*"})
    assert environ(server, [("X-Forwarded-Proto", "https")])["wsgi.url_scheme"] == "https"


def test_networks_and_mapped_addresses(serve: Serve) -> None:
    """A peer that comes as ::ffff:127.0.0.1 through an IPv6 socket is 127.0.0.1."""
    from support.ports import free_port

    port = free_port()
    server = serve(
        "probes:app",
        "--forwarded-allow-ips",
        "127.0.0.0/8",
        bind=f"[::]:{port}",
        address=("127.0.0.1", port),
    )
    found = environ(server, [("X-Forwarded-Proto", "https")])
    assert (found["wsgi.url_scheme"], found["REMOTE_ADDR"]) == ("https", "127.0.0.1")


def test_script_name_of_a_trusted_proxy(serve: Serve) -> None:
    server = serve("probes:app", *TRUSTED, env={"SCRIPT_NAME": "/own"}, probe=None)
    server.expect_log("not under SCRIPT_NAME '?\"?/app")
    server.expect_log(f"{INVALID}127.0.0.1: two SCRIPT_NAME")
    with server.connect() as connection:
        found = environ_of(connection, [("SCRIPT_NAME", "/app/")], "/app/environ?q")
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/environ")
        assert found["HTTP_SCRIPT_NAME"] == "/app/"
        assert found["RAW_URI"] == "/app/environ?q"
        found = environ_of(connection, [("script_name", "")])
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/environ")
        found = environ_of(connection, [], "/own/environ")
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/own", "/environ")
        found = environ_of(connection, [("PATH_INFO", "/x")], "/own/environ")
        assert found["PATH_INFO"] == "/environ"
        assert found["HTTP_PATH_INFO"] == "/x"
    # /app is no part of /apple.
    for target in ("/other", "/apple", "/APP/x"):
        assert server.exchange("GET", target, [("SCRIPT_NAME", "/app")]).status == 500
    twice = [("SCRIPT_NAME", "/app"), ("SCRIPT_NAME", "/admin")]
    assert server.exchange("GET", "/app/environ", twice).status == 400


@pytest.mark.parametrize(
    ("header_map", "status", "seen"),
    [("drop", 200, None), ("refuse", 400, None), ("dangerous", 200, "one")],
)
def test_header_map(serve: Serve, header_map: str, status: int, seen: str | None) -> None:
    server = serve("probes:app", *STRANGER, "--header-map", header_map)
    server.allow_log(f"{INVALID}127.0.0.1: .*underscore|header_map is 'dangerous'")
    response = server.exchange("GET", "/environ", [("X_Tag", "one")])
    assert response.status == status
    if status == 200:
        found = json.loads(response.body)["environ"]
        assert found.get("HTTP_X_TAG", ["", None])[1] == seen
    # No header of a stranger's is SCRIPT_NAME.
    if header_map == "dangerous":
        assert environ(server, [("SCRIPT_NAME", "/environ")])["SCRIPT_NAME"] == ""


def test_forwarder_headers(serve: Serve) -> None:
    server = serve("probes:app", "--forwarder-headers", "REMOTE_USER", "--header-map", "refuse")
    server.expect_log(f"{INVALID}127.0.0.1: .*underscore")
    assert environ(server, [("Remote_User", "ann")])["HTTP_REMOTE_USER"] == "ann"
    assert server.exchange("GET", "/", [("SCRIPT_NAME", "/app")]).status == 400
    server = serve("probes:app", "--forwarder-headers", "*")
    assert environ(server, [("X_Any", "1")])["HTTP_X_ANY"] == "1"


def test_hooks_see_the_client_as_the_app_does(serve: Serve) -> None:
    config = """
def pre_request(worker, req):
    from events import note
    note("request", scheme=req.scheme, remote=req.remote_addr, peer=req.peer_addr[0])
"""
    server = serve(
        "probes:app", "--trusted-proxy-headers", "x-forwarded-for", config=config, probe=None
    )
    environ(server, [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")])
    (event,) = server.events("request")
    assert event["scheme"] == "https"
    assert event["remote"] == ["203.0.113.7", 0]
    assert event["peer"] == "127.0.0.1"


def test_a_request_that_was_cut_is_logged_with_its_client(serve: Serve) -> None:
    server = serve(
        "probes:app",
        "--timeout",
        "1",
        "--trusted-proxy-headers",
        "x-forwarded-for",
        "--access-logfile",
        "access.log",
        probe=None,
    )
    server.expect_log("WORKER TIMEOUT|203.0.113.7")
    response = server.exchange("GET", "/sleep?seconds=8", [("X-Forwarded-For", "203.0.113.7")])
    assert response.status == 504
    from support.waiting import wait_for

    path = server.directory / "access.log"
    wait_for(lambda: "/sleep" in path.read_text(), 10.0, "the line of the cut request")
    (line,) = [line for line in path.read_text().splitlines() if "/sleep" in line]
    assert line.startswith("203.0.113.7 ")
