"""What an app finds in its environ (PEP 3333 and Gunicorn's contract)."""

import json
import sys
from importlib.util import find_spec

import pytest

from support.client import Connection, chunked, format_request
from support.serving import Serve

#: Keys that name the server or a socket, and so differ between two servers.
PARTICULAR = {"SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT"}

#: Values whose type is the server's own.
OWN_TYPES = {
    "wsgi.input",
    "wsgi.errors",
    "wsgi.file_wrapper",
    "wsgi.early_hints",
    "gunicorn.socket",
}

CHUNKED = [("Transfer-Encoding", "chunked")]

REQUESTS = {
    "plain": format_request(target="/environ"),
    "query": format_request(target="/environ?a=1&b=%20x&c"),
    "empty-query": format_request(target="/environ?"),
    "fragment": format_request(target="/environ?a=1#part"),
    "percent": format_request(target="/%65nviron"),
    "utf8-query": format_request(target="/environ?name=%C3%A9"),
    "absolute": format_request(target="http://test.example/environ?x=1"),
    "http10": format_request(target="/environ", version="HTTP/1.0"),
    "http10-without-host": format_request(target="/environ", version="HTTP/1.0", host=None),
    "host-with-port": format_request(target="/environ", host="test.example:8080"),
    "post": format_request("POST", "/environ", [("Content-Type", "text/plain")], b"the body"),
    "post-empty": format_request("POST", "/environ", body=b""),
    "post-chunked": format_request("POST", "/environ", CHUNKED) + chunked([b"the ", b"body"]),
    "get-with-body": format_request("GET", "/environ", body=b"odd but allowed"),
    "put": format_request("PUT", "/environ", body=b"x"),
    "delete": format_request("DELETE", "/environ"),
    "custom-method": format_request("PROPFIND", "/environ"),
    "repeated-field": format_request("GET", "/environ", [("X-Tag", "one"), ("X-Tag", "two")]),
    "empty-field": format_request("GET", "/environ", [("X-Empty", "")]),
    "spaces": format_request("GET", "/environ", [("X-Spaces", "  in the  middle \t ")]),
    "latin-1": format_request("GET", "/environ", [("X-Name", "caf\xe9")]),
    "underscore": format_request("GET", "/environ", [("X_Dropped", "1"), ("X-Kept", "2")]),
    "known-fields": format_request(
        "GET",
        "/environ",
        [
            ("User-Agent", "test"),
            ("Accept", "*/*"),
            ("Accept-Language", "en"),
            ("Accept-Encoding", "gzip"),
            ("Referer", "http://test.example/"),
            ("Cookie", "a=1; b=2"),
            ("Authorization", "Basic dGVzdDp0ZXN0"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Upgrade-Insecure-Requests", "1"),
            ("If-None-Match", '"x"'),
            ("cOnTeNt-TyPe", "text/plain"),
        ],
    ),
    "forwarded-proto": format_request("GET", "/environ", [("X-Forwarded-Proto", "https")]),
    "forwarded-proto-other": format_request("GET", "/environ", [("X-Forwarded-Proto", "HTTPS")]),
    "forwarded-ssl": format_request(
        "GET", "/environ", [("X-Forwarded-Ssl", "on"), ("X-Forwarded-Protocol", "ssl")]
    ),
    "forwarded-more": format_request(
        "GET",
        "/environ",
        [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Host", "shop.example"),
            ("X-Forwarded-Port", "8443"),
            ("Forwarded", "for=203.0.113.7;proto=https"),
        ],
    ),
    "script-name": format_request("GET", "/app/environ", [("SCRIPT_NAME", "/app")]),
    "path-info": format_request("GET", "/environ", [("PATH_INFO", "/x")]),
    "expect": format_request("POST", "/environ", [("Expect", "100-continue")], b"the body"),
}


def shown(connection: Connection, request: bytes) -> dict[str, list[object]]:
    """The environ that a request leads to: key -> [type, value]."""
    connection.send(request)
    response = connection.read_response()
    assert response.status == 200, response
    facts = json.loads(response.body)
    environ = dict(facts["environ"])
    environ["the body"] = ["bytes", facts["body"]]
    return environ


def comparable(environ: dict[str, list[object]]) -> dict[str, object]:
    return {
        key: "present" if key in OWN_TYPES else value
        for key, value in environ.items()
        if key not in PARTICULAR and key != "gunicorn.socket"
    }


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="the gunicorn package is not installed")
def test_environ_is_gunicorns(serve: Serve) -> None:
    """The same requests lead to the same environ under Gunicorn and here, key by key."""
    ours = serve()
    theirs = serve(program=[sys.executable, "-m", "gunicorn"])
    differences = {}
    for name, request in REQUESTS.items():
        with theirs.connect() as connection:
            expected = comparable(shown(connection, request))
        with ours.connect() as connection:
            found = comparable(shown(connection, request))
        difference = {
            key: (expected.get(key), found.get(key))
            for key in expected.keys() | found.keys()
            if expected.get(key) != found.get(key)
        }
        if difference:
            differences[name] = difference
    assert not differences, f"request -> key -> (Gunicorn's, ours): {differences}"


PROXY_LINE = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
PROXY_HEADERS = {
    "v1": PROXY_LINE,
    "v1-ipv6": b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n",
    "v2": bytes.fromhex("0d0a0d0a000d0a515549540a 2111000c cb007107 c6336401 1267 01bb"),
}


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="the gunicorn package is not installed")
def test_environ_behind_a_proxy_header_is_gunicorns(serve: Serve) -> None:
    """What a PROXY protocol header adds and changes, key by key."""
    options = ("--proxy-protocol", "auto")
    ours = serve("probes:app", *options, probe=None)
    theirs = serve("probes:app", *options, program=[sys.executable, "-m", "gunicorn"], probe=None)
    for name, header in PROXY_HEADERS.items():
        request = header + REQUESTS["plain"]
        with theirs.connect() as connection:
            expected = shown(connection, request)
        with ours.connect() as connection:
            found = shown(connection, request)
        assert expected["REMOTE_PORT"] == found["REMOTE_PORT"] == ["str", "4711"], name
        assert comparable(found) == comparable(expected), name


def test_particular_keys(serve: Serve) -> None:
    server = serve()
    with server.connect() as connection:
        environ = shown(connection, REQUESTS["plain"])
        host, port = connection.sock.getsockname()
    assert environ["SERVER_PORT"] == ["str", str(server.address[1])]
    assert environ["SERVER_NAME"] == ["str", "127.0.0.1"]
    assert environ["REMOTE_ADDR"] == ["str", host]
    assert environ["REMOTE_PORT"] == ["str", str(port)]
    software = environ["SERVER_SOFTWARE"]
    assert software[0] == "str" and str(software[1]).startswith("monoceros/")
    assert environ["wsgi.version"] == ["tuple", [1, 0]]
    assert environ["wsgi.input_terminated"] == ["bool", True]
    assert environ["wsgi.run_once"] == ["bool", False]


@pytest.mark.parametrize(
    ("options", "workers", "multithread", "multiprocess"),
    [
        ([], 1, False, False),
        ([], 2, False, True),
        (["--threads", "2"], 1, True, False),
        (["--worker-class", "gthread"], 2, True, True),
        (["--worker-class", "gevent"], 2, True, True),
    ],
)
def test_concurrency_flags(
    serve: Serve, options: list[str], workers: int, multithread: bool, multiprocess: bool
) -> None:
    server = serve("probes:app", *options, workers=workers)
    with server.connect() as connection:
        environ = shown(connection, REQUESTS["plain"])
    assert environ["wsgi.multithread"] == ["bool", multithread]
    assert environ["wsgi.multiprocess"] == ["bool", multiprocess]


def test_unix_socket(serve: Serve) -> None:
    """No peer address; the server's name comes from Host, or is the socket's path without one."""
    server = serve(bind="unix:app.sock")
    with server.connect() as connection:
        environ = shown(connection, format_request(target="/environ", host="named.example:81"))
        assert environ["REMOTE_ADDR"] == ["str", ""]
        assert "REMOTE_PORT" not in environ
        assert environ["SERVER_NAME"] == ["str", "named.example"]
        assert environ["SERVER_PORT"] == ["str", "81"]
        environ = shown(connection, format_request(target="/environ", host="named.example"))
        assert environ["SERVER_PORT"] == ["str", "80"]
        environ = shown(connection, format_request(target="/environ", host="[::1]:82"))
        assert environ["SERVER_NAME"] == ["str", "[::1]"]
        assert environ["SERVER_PORT"] == ["str", "82"]


def test_environs_do_not_share_state(serve: Serve) -> None:
    """What one request adds to its environ is not there for the next on the connection."""
    app = """
def app(environ, start_response):
    found = "mark" in environ
    environ["mark"] = 1
    environ["wsgi.url_scheme"] = "spoiled"
    environ.pop("REQUEST_METHOD")
    start_response("200 OK", [("Content-Length", "5")])
    return [b"found" if found else b"fresh"]
"""
    server = serve("own:app", files={"own.py": app})
    with server.connect() as connection:
        for _ in range(3):
            assert connection.request().body == b"fresh"


def test_gunicorn_socket(serve: Serve) -> None:
    """`gunicorn.socket` is a socket whose peer is the client."""
    app = """
def app(environ, start_response):
    sock = environ["gunicorn.socket"]
    body = str(sock.getpeername()[1]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    server = serve("own:app", files={"own.py": app})
    with server.assert_no_descriptor_growth(), server.connect() as connection:
        port = connection.sock.getsockname()[1]
        assert connection.request().body == str(port).encode()


def test_errors_stream(serve: Serve) -> None:
    """`wsgi.errors` writes to the error log, whole lines, and has what PEP 3333 asks."""
    app = """
def app(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("a note from the app\\n")
    errors.writelines(["two ", "parts\\n"])
    errors.flush()
    print("printed there", file=errors)
    start_response("204 No Content", [])
    return []
"""
    server = serve("own:app", files={"own.py": app}, probe=None)
    server.allow_log("a note from the app|parts|printed there")
    assert server.get().status == 204
    for text in ("a note from the app", "two parts", "printed there"):
        server.wait_log(text)


def test_early_hints(serve: Serve) -> None:
    """`wsgi.early_hints` sends a 103 before the answer, and only to HTTP/1.1 clients."""
    app = """
def app(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
    server = serve("own:app", files={"own.py": app}, probe=None)
    with server.connect() as connection:
        response = connection.request()
        assert [each.status for each in response.interim] == [103]
        assert response.interim[0].get("Link") == "</style.css>; rel=preload"
        assert response.body == b"ok"
        assert connection.request(version="HTTP/1.0").interim == []
