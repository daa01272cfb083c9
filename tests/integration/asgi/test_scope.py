"""What an app is told of a request: ASGI's HTTP connection scope."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import Connection, format_request
from support.server import Server
from support.serving import Serve
from support.tls import Authority

#: Every key that the specification has, and no other.
KEYS = {
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
    "client",
    "server",
    "state",
    "extensions",
}

#: Our own peer is a proxy that counts, and sets this field; or is not one.
TRUSTED = ("--trusted-proxy-headers", "x-forwarded-for")
STRANGER = (*TRUSTED, "--forwarded-allow-ips", "192.0.2.1")


def of(value: str) -> list[str]:
    """Bytes as the app shows them."""
    return ["bytes", value]


def scope_on(connection: Connection, target: str = "/scope", **request: Any) -> dict[str, Any]:
    connection.send(format_request(target=target, **request))
    response = connection.read_response(request.get("method", "GET"))
    assert response.status == 200, response
    found = json.loads(response.body)
    assert isinstance(found, dict)
    return found


def scope(server: Server, target: str = "/scope", **request: Any) -> dict[str, Any]:
    with server.connect() as connection:
        return scope_on(connection, target, **request)


def fields(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers as pairs of text; each is a pair of bytes."""
    pairs = found["headers"]
    assert all(kind == "bytes" for pair in pairs for kind, _ in pair)
    return [(name, value) for (_, name), (_, value) in pairs]


@on_each_loop
def test_a_plain_request(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        found = scope_on(connection, "/scope?a=1&b=%20")
        client = list(connection.sock.getsockname())
    assert set(found) == KEYS
    assert found["type"] == "http"
    assert found["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert found["http_version"] == "1.1"
    assert found["method"] == "GET"
    assert found["scheme"] == "http"
    assert found["path"] == "/scope"
    assert found["raw_path"] == of("/scope")
    assert found["query_string"] == of("a=1&b=%20")
    assert found["root_path"] == ""
    assert found["client"] == client
    assert found["server"] == list(server.address)
    assert fields(found) == [("host", "test.example")]
    assert found["state"] == {"made_at_startup": "ready", "shared": []}


def test_extensions_are_those_that_the_server_has(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    found = scope(server)["extensions"]
    assert {
        "http.response.trailers",
        "http.response.early_hint",
        "http.response.pathsend",
    } <= set(found)
    assert all(value == {} for value in found.values())


PATHS = {
    "/scope": "/scope",
    "/sc%6Fpe": "/scope",
    "/a%20b%C3%A4": "/a bä",
    "/a%2Fb": "/a/b",
    "/a+b": "/a+b",
    "/a;b=c": "/a;b=c",
    "//double//slash/": "//double//slash/",
    "/dot/../dot": "/dot/../dot",
    # Not UTF-8: told as far as it is text; raw_path has all of it.
    "/a%FFb": "/a\ufffdb",
    "/a%zzb": "/a%zzb",
    "/%": "/%",
}

APP = """
from asgi_probes import answer_json, shown

async def app(scope, receive, send):
    if scope["type"] == "http":
        await answer_json(send, shown(scope))
"""


def test_paths_are_decoded_once(serve: Serve) -> None:
    server = serve("every:app", files={"every.py": APP})
    with server.connect() as connection:
        for raw, path in PATHS.items():
            for query in ("", "?q=%2Fx", "?", "?a?b"):
                found = scope_on(connection, raw + query)
                assert (found["path"], found["raw_path"]) == (path, of(raw))
                assert found["query_string"] == of(query[1:])


def test_targets_in_absolute_form(serve: Serve) -> None:
    """As clients of proxies send them: the path is that within the URL."""
    server = serve("every:app", files={"every.py": APP})
    found = scope(server, "http://other.example/a%20b?c", host="other.example")
    assert (found["path"], found["raw_path"]) == ("/a b", of("/a%20b"))
    assert found["query_string"] == of("c")
    assert scope(server, "http://other.example", host="other.example")["path"] == "/"


def test_methods(serve: Serve) -> None:
    server = serve("every:app", files={"every.py": APP})
    with server.connect() as connection:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "M-SEARCH"):
            assert scope_on(connection, method=method)["method"] == method


def test_headers_are_lower_case_bytes_in_their_order(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    sent = [
        ("X-Twice", "1"),
        ("Accept", "a, b"),
        ("x-TWICE", "2"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
        ("X-Empty", ""),
        ("X-Space", "  inside  it  "),
        ("Content-Type", "text/plain"),
    ]
    found = fields(scope(server, fields=sent))
    expected = [(name.lower(), value.strip()) for name, value in sent]
    assert found == [("host", "test.example"), *expected]


def test_headers_of_a_body(serve: Serve) -> None:
    """Its framing is told as it came."""
    server = serve("asgi_probes:app")
    assert ("content-length", "3") in fields(scope(server, method="POST", body=b"abc"))
    with server.connect() as connection:
        connection.send(
            format_request("POST", "/scope", [("Transfer-Encoding", "chunked")])
            + b"3\r\nabc\r\n0\r\n\r\n"
        )
        found = json.loads(connection.read_response("POST").body)
    assert ("transfer-encoding", "chunked") in fields(found)


def test_http_1_0(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    found = scope(server, version="HTTP/1.0", host=None)
    assert found["http_version"] == "1.0"
    assert found["headers"] == []


def test_the_state_is_a_copy_for_each_request(serve: Serve) -> None:
    """What lies in it is shared, its keys are not."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for count in range(3):
            found = json.loads(connection.request(target="/state").body)
            assert found == {"made_at_startup": "ready", "shared": list(range(count))}


def test_without_a_lifespan_there_is_no_state_that_was_made(serve: Serve) -> None:
    server = serve("every:app", "--asgi-lifespan", "off", files={"every.py": APP})
    assert scope(server)["state"] == {}


def test_root_path(serve: Serve) -> None:
    server = serve("asgi_probes:app", "--root-path", "/mounted")
    found = scope(server)
    assert found["root_path"] == "/mounted"
    assert found["raw_path"] == of("/scope")


def test_a_unix_socket(serve: Serve) -> None:
    server = serve("asgi_probes:app", bind="unix:site.sock")
    found = scope(server)
    assert found["server"] == [found["server"][0], None]
    assert Path(found["server"][0]).name == "site.sock"
    assert found["client"] is None


def test_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.serve(serve, "asgi_probes:app", authority.pair("server"))
    with server.connect() as connection:
        found = scope_on(connection)
        assert found["client"] == list(connection.sock.getsockname())
    assert found["scheme"] == "https"
    assert found["server"] == list(server.address)


PROXY = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]


def test_behind_a_proxy_that_is_trusted(serve: Serve) -> None:
    server = serve("asgi_probes:app", *TRUSTED)
    with server.connect() as connection:
        found = scope_on(connection, fields=PROXY)
        assert found["client"][0] == "203.0.113.7"
        assert found["scheme"] == "https"
        # It holds for one request of a connection.
        own = scope_on(connection)
        assert own["client"] == list(connection.sock.getsockname())
        assert own["scheme"] == "http"


def test_behind_a_stranger(serve: Serve) -> None:
    server = serve("asgi_probes:app", *STRANGER)
    with server.connect() as connection:
        found = scope_on(connection, fields=PROXY)
        assert found["client"] == list(connection.sock.getsockname())
    assert found["scheme"] == "http"
    assert ("x-forwarded-for", "203.0.113.7") in fields(found)


def test_a_trusted_proxy_behind_a_unix_socket(serve: Serve) -> None:
    server = serve("asgi_probes:app", *TRUSTED, bind="unix:site.sock")
    found = scope(server, fields=PROXY)
    assert found["client"][0] == "203.0.113.7"
    assert found["scheme"] == "https"


def test_the_proxy_protocol(serve: Serve) -> None:
    """The client that it names holds for every request of its connection."""
    server = serve("asgi_probes:app", "--proxy-protocol", "v1", probe=None)
    with server.connect() as connection:
        connection.send(b"PROXY TCP4 203.0.113.7 192.0.2.9 4711 443\r\n")
        for _ in range(2):
            assert scope_on(connection)["client"] == ["203.0.113.7", 4711]


@pytest.mark.parametrize("name", ["script_name", "path_info"])
def test_headers_with_underscores_pretend_nothing(serve: Serve, name: str) -> None:
    """They are dropped, as for WSGI, from whom is not trusted with them."""
    server = serve("asgi_probes:app", *STRANGER)
    found = scope(server, fields=[(name, "/pretended"), ("x_a", "1"), ("x-a", "2")])
    assert found["root_path"] == ""
    assert fields(found) == [("host", "test.example"), ("x-a", "2")]
