"""The uwsgi protocol behind nginx's uwsgi_pass, as sites run it."""

import concurrent.futures
import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.client import Connection, chunked, format_request
from support.load import Load
from support.ports import free_port
from support.programs import Programs, Proxy, nginx_http, upstream_of
from support.server import Server
from support.serving import Serve
from support.tls import HOST, Authority
from support.waiting import wait_for

LARGE = b"0123456789abcdef" * 300_000

#: What Debian's and nginx's own /etc/nginx/uwsgi_params says.
PARAMS = """
            uwsgi_param QUERY_STRING $query_string;
            uwsgi_param REQUEST_METHOD $request_method;
            uwsgi_param CONTENT_TYPE $content_type;
            uwsgi_param CONTENT_LENGTH $content_length;
            uwsgi_param REQUEST_URI $request_uri;
            uwsgi_param PATH_INFO $document_uri;
            uwsgi_param DOCUMENT_ROOT $document_root;
            uwsgi_param SERVER_PROTOCOL $server_protocol;
            uwsgi_param REQUEST_SCHEME $scheme;
            uwsgi_param HTTPS $https if_not_empty;
            uwsgi_param REMOTE_ADDR $remote_addr;
            uwsgi_param REMOTE_PORT $remote_port;
            uwsgi_param SERVER_PORT $server_port;
            uwsgi_param SERVER_NAME $server_name;
"""

#: Worker classes, by what makes one.
KINDS = {"sync": (), "gthread": ("--threads", "4"), "gevent": ("--worker-class", "gevent")}

#: The inside of nginx's server block. `more` follows the parameters.
SITE = """
        listen 127.0.0.1:{port};
        server_name www.example;
        location / {{
{params}
            uwsgi_pass {scheme}app;
            uwsgi_request_buffering {buffering};
            uwsgi_next_upstream off;
            {more}
        }}
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder = tmp_path / "proxy"
    folder.mkdir()
    running = Programs(folder)
    yield running
    running.end()


def nginx(
    programs: Programs,
    server: Server,
    more: str = "",
    *,
    buffering: str = "on",
    scheme: str = "uwsgi://",
    params: str = PARAMS,
) -> Proxy:
    port = free_port()
    site = SITE.format(port=port, more=more, buffering=buffering, scheme=scheme, params=params)
    upstream = f"server {upstream_of(server)};"
    return programs.nginx(port, nginx_http(programs.folder, site, upstream))


def start(
    serve: Serve, *options: str, app: str = "probes:app", workers: int = 1, **more: Any
) -> Server:
    return serve(app, "--protocol", "uwsgi", *options, workers=workers, probe=None, **more)


@pytest.mark.parametrize("buffering", ["on", "off"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bind", [None, "unix:app.sock"], ids=["tcp", "unix"])
def test_what_visitors_do(
    serve: Serve, programs: Programs, bind: str | None, kind: str, buffering: str
) -> None:
    server = start(serve, *KINDS[kind], workers=2, bind=bind)
    server.expect_log("Error handling request /fail")
    expected = f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"
    with server.assert_no_descriptor_growth(timeout=20.0):
        host, port = nginx(programs, server, buffering=buffering)
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=30) as client:
            for _ in range(20):
                assert client.get("/").text == "hello, world\n"
            assert client.post("/digest", content=LARGE).text == expected
            pieces = (LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))
            assert client.put("/digest", content=pieces).text == expected
            assert len(client.get("/large?bytes=5000000").content) == 5_000_000
            assert len(client.get("/stream?pieces=50").content) == 50 * 65_536
            assert client.head("/large?bytes=1000").headers["content-length"] == "1000"
            assert client.post("/echo", content=b"").content == b""
            assert client.get("/nowhere").status_code == 404
            assert client.get("/fail").status_code == 500
            with pytest.raises(httpx.HTTPError):
                client.get("/fail-late?length=1000")
            if bind is None:
                # A unix socket knows no reset: there the missing length cannot be told from an end.
                with pytest.raises(httpx.HTTPError):
                    client.get("/fail-late")
        programs.end()


SHOW = """
from probes import show_environ as app
"""


@pytest.fixture
def show(serve: Serve) -> Server:
    return start(serve, "--threads", "2", app="show:app", files={"show.py": SHOW})


def environ_through(address: Proxy, target: str, *lines: str) -> dict[str, Any]:
    """What the app sees of a raw request."""
    with Connection(address) as connection:
        head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: shop.example", *lines, "", ""])
        connection.send(head.encode("latin-1"))
        response = connection.read_response()
        assert response.status == 200, response
        shown = json.loads(response.body)["environ"]
        found = {key: value for key, (_, value) in shown.items()}
        found["own"] = connection.sock.getsockname()
        return found


def test_the_environ(show: Server, programs: Programs) -> None:
    address = nginx(programs, show)
    found = environ_through(address, "/a?b=%20c", "Cookie: a=1", "Cookie: b=2", "X-A: \xe9")
    host, port = found["own"]
    for key, value in {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/a",
        "QUERY_STRING": "b=%20c",
        "SCRIPT_NAME": "",
        "REQUEST_URI": "/a?b=%20c",
        "RAW_URI": "/a?b=%20c",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "www.example",
        "SERVER_PORT": str(address[1]),
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
        "REQUEST_SCHEME": "http",
        "HTTP_HOST": "shop.example",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_A": "\xe9",
        "wsgi.url_scheme": "http",
    }.items():
        assert found[key] == value, key
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS"} & set(found)


def test_paths_are_decoded_once(show: Server, programs: Programs) -> None:
    address = nginx(programs, show)
    for target, path in {
        "/a%2e%2e": "/a..",
        "/%252e%252e": "/%2e%2e",
        "/a%2Fb": "/a/b",
        "/100%25": "/100%",
        "/caf%C3%A9": "/caf\xc3\xa9",
        "/x/%2e%2e/y": "/y",
    }.items():
        found = environ_through(address, target)
        assert (found["PATH_INFO"], found["REQUEST_URI"]) == (path, target)


def test_what_operators_add(show: Server, programs: Programs) -> None:
    """A mount point, a balancer's scheme, an address of their own, a list that is corrected."""
    more = """
            uwsgi_param SCRIPT_NAME /app;
            uwsgi_param UWSGI_SCHEME $http_x_forwarded_proto;
            uwsgi_param SERVER_NAME $host;
            uwsgi_param X-Zone blue;
    """
    address = nginx(programs, show, more)
    found = environ_through(address, "/app/x%20y", "X-Forwarded-Proto: https")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/x y")
    assert found["wsgi.url_scheme"] == "https"
    assert found["SERVER_NAME"] == "shop.example"
    assert found["X-Zone"] == "blue"
    found = environ_through(address, "/apple")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/apple")
    assert found["wsgi.url_scheme"] == "http"


def test_a_client_cannot_tell_variables(serve: Serve, programs: Programs) -> None:
    """Its fields are HTTP_ keys and nothing else, whatever they are called."""
    server = start(serve, "--forwarded-allow-ips=10.0.0.1", app="show:app", files={"show.py": SHOW})
    address = nginx(programs, server)
    found = environ_through(
        address,
        "/",
        "wsgi.input: x",
        "Remote-Addr: 10.0.0.1",
        "Script-Name: /admin",
        "Https: on",
        "X-Forwarded-Proto: https",
        "Proxy: http://evil.example",
    )
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["SCRIPT_NAME"] == ""
    assert found["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in found
    assert found["HTTP_REMOTE_ADDR"] == "10.0.0.1"


def test_without_its_variables_the_log_says_what_to_include(
    serve: Serve, programs: Programs
) -> None:
    server = start(serve)
    server.expect_log(r"include uwsgi_params\) \(uwsgi-method-missing\)")
    port = free_port()
    site = SITE.format(port=port, more="", buffering="on", scheme="uwsgi://", params="")
    site += "        location = / { return 200; }\n"
    upstream = f"server {upstream_of(server)};"
    address = programs.nginx(port, nginx_http(programs.folder, site, upstream))
    with Connection(address) as connection:
        assert connection.request(target="/environ").status == 400


def test_who_may_not_is_answered_403(serve: Serve, programs: Programs) -> None:
    server = start(serve, "--uwsgi-allow-from", "10.0.0.0/8")
    server.expect_log(r"\(uwsgi-forbidden\)")
    port = free_port()
    site = SITE.format(port=port, more="", buffering="on", scheme="uwsgi://", params=PARAMS)
    site += "        location = / { return 200; }\n"
    upstream = f"server {upstream_of(server)};"
    address = programs.nginx(port, nginx_http(programs.folder, site, upstream))
    with Connection(address) as connection:
        assert connection.request("POST", "/environ", body=LARGE[:100_000]).status == 403


def test_over_tls(serve: Serve, programs: Programs, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair("server", HOST, "127.0.0.1")
    server = authority.serve(serve, "probes:app", pair, "--protocol", "uwsgi", probe=None)
    more = f"""
            uwsgi_ssl_verify on;
            uwsgi_ssl_trusted_certificate {authority.file};
            uwsgi_ssl_name {HOST};
    """
    address = nginx(programs, server, more, scheme="suwsgi://")
    with Connection(address, timeout=30.0) as connection:
        response = connection.request("POST", "/digest", body=LARGE)
        assert response.text == f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"
        shown = json.loads(connection.request(target="/environ").body)["environ"]
        assert shown["wsgi.url_scheme"] == ["str", "http"]


@pytest.mark.parametrize("kind", KINDS)
def test_many_visitors_with_kept_connections(serve: Serve, programs: Programs, kind: str) -> None:
    """And a slow one that sends its body in pieces meanwhile."""
    server = start(serve, *KINDS[kind], workers=2)
    address = nginx(programs, server, buffering="off")

    def visit(number: int) -> set[bytes]:
        with Connection(address, timeout=30.0) as connection:
            body = f"visitor {number}".encode()
            return {connection.request("POST", "/echo", body=body).body for _ in range(25)}

    with Connection(address, timeout=30.0) as slow:
        sent = format_request("POST", "/digest", body=LARGE[:200_000])
        slow.send(sent[:1000])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(visit, range(16)))
        assert answers == [{f"visitor {number}".encode()} for number in range(16)]
        slow.send(sent[1000:100_000])
        assert visit(99) == {b"visitor 99"}
        slow.send(sent[100_000:])
        assert slow.read_response().text.startswith("200000 ")


def test_a_slow_reader(serve: Serve, programs: Programs) -> None:
    server = start(serve, "--threads", "2")
    address = nginx(programs, server, "uwsgi_buffering off;")
    with Connection(address, timeout=30.0, receive_buffer=65_536) as slow:
        slow.send(format_request(target="/stream?pieces=200"))
        assert slow.receive()
        with Connection(address, timeout=30.0) as other:
            for _ in range(10):
                assert other.request().body == b"hello, world\n"
        assert len(slow.read_response().body) == 200 * 65_536


def test_files(serve: Serve, programs: Programs) -> None:
    app = """
import os
def app(environ, start):
    path = os.path.join(os.path.dirname(__file__), "large.bin")
    headers = [("Content-Length", str(os.path.getsize(path)))] if environ["QUERY_STRING"] else []
    start("200 OK", headers)
    return environ["wsgi.file_wrapper"](open(path, "rb"))
"""
    server = start(
        serve, "--threads", "2", app="files:app", files={"files.py": app, "large.bin": ""}
    )
    (server.directory / "large.bin").write_bytes(LARGE)
    address = nginx(programs, server)
    for target in ("/", "/?length"):
        with Connection(address, timeout=30.0) as connection:
            assert connection.request(target=target).body == LARGE


def test_chunks_and_expectations_are_nginxs_own(serve: Serve, programs: Programs) -> None:
    server = start(serve)
    address = nginx(programs, server)
    head = "POST /environ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    with Connection(address, timeout=30.0) as connection:
        connection.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
        connection.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(chunked([b"some", b"thing"]))
        shown = json.loads(connection.read_response().body)
        assert shown["body"] == "something"
        assert shown["environ"]["CONTENT_LENGTH"] == ["str", "9"]
        old = connection.request(version="HTTP/1.0", host=None)
        assert old.body == b"hello, world\n"


def test_reload_behind_nginx(serve: Serve, programs: Programs) -> None:
    """No visitor sees a 502."""
    server = start(serve, "--threads", "2", workers=2)
    address = nginx(programs, server)
    with Load(address, clients=4, keep_alive=True) as load:
        for _ in range(2):
            before = set(server.workers())
            server.send_signal(signal.SIGHUP)
            wait_for(lambda old=before: len(set(server.workers()) - old) == 2, 20.0, "new workers")
            count = load.answered
            wait_for(lambda n=count: load.answered > n + 50, 20.0, "more answers")
    load.assert_no_loss(at_least=100)
