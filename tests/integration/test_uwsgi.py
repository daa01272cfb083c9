"""The uwsgi protocol by hand, byte by byte. Behind nginx: test_uwsgi_nginx.py."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.client import DELIVERIES, Connection, format_request
from support.server import Server
from support.serving import Serve
from support.tls import HOST, Authority
from support.uwsgi import exchange, message, packet, variables_of
from support.waiting import wait_for

INVALID = "Invalid request from ip="
LARGE = b"0123456789abcdef" * 100_000


def start(serve: Serve, *options: str, app: str = "probes:app", **more: Any) -> Server:
    return serve(app, "--protocol", "uwsgi", *options, probe=None, **more)


def environ_of(
    server: Server,
    target: str = "/environ",
    fields: tuple[tuple[str, str], ...] = (),
    more: Mapping[str, str | None] | None = None,
    **request: Any,
) -> dict[str, Any]:
    """What the app sees."""
    with server.connect() as connection:
        response = exchange(connection, target=target, fields=fields, more=more, **request)
        assert response.status == 200, response
        shown = json.loads(response.body)["environ"]
        return {key: value for key, (_, value) in shown.items()}


#: Shows its environ under any path.
SHOW = """
from probes import show_environ as app
"""


@pytest.fixture
def show(serve: Serve) -> Server:
    return start(serve, app="show:app", files={"show.py": SHOW})


@pytest.mark.parametrize("options", [(), ("--threads", "4")], ids=["sync", "gthread"])
def test_the_environ_is_what_the_front_end_tells(serve: Serve, options: tuple[str, ...]) -> None:
    server = start(serve, *options, "--access-logfile", "access.log")
    found = environ_of(
        server, "/environ?a=%20b", (("User-Agent", "test"),), {"HTTPS": "on", "geo.city": "Ume\xe5"}
    )
    for key, value in {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=%20b",
        "SCRIPT_NAME": "",
        "REQUEST_URI": "/environ?a=%20b",
        "RAW_URI": "/environ?a=%20b",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "www.example",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "4711",
        "DOCUMENT_ROOT": "/srv/www",
        "HTTP_HOST": "www.example:8080",
        "HTTP_USER_AGENT": "test",
        "HTTPS": "on",
        "geo.city": "Ume\xe5",
        "wsgi.url_scheme": "https",
        "wsgi.multithread": bool(options),
    }.items():
        assert found[key] == value, key
    assert "CONTENT_LENGTH" not in found
    assert "CONTENT_TYPE" not in found
    server.stop()
    line = (server.directory / "access.log").read_text()
    assert line.startswith("203.0.113.7 - - [")
    assert '"GET /environ?a=%20b HTTP/1.1" 200 ' in line


def test_however_the_bytes_arrive(serve: Serve) -> None:
    server = start(serve)
    for body in (None, b"", b"0123456789" * 20):
        for deliver in DELIVERIES.values():
            with server.connect() as connection:
                deliver(connection, message("POST", "/environ", body))
                shown = json.loads(connection.read_response().body)
                assert shown["body"].encode() == (body or b"")
                assert connection.read_to_close() == b""


#: What a client asks for, and the path that nginx makes of it.
PATHS = {
    "/a%2e%2e": "/a..",
    "/%252e%252e/x": "/%2e%2e/x",
    "/a%2Fb": "/a/b",
    "/100%25": "/100%",
    "/caf%C3%A9": "/caf\xc3\xa9",
    "/a+b%20c": "/a+b c",
}


def test_a_path_is_decoded_once(show: Server) -> None:
    """By the front end, that is. Gunicorn decodes it again."""
    for target, path in PATHS.items():
        found = environ_of(show, target)
        assert (found["PATH_INFO"], found["RAW_URI"]) == (path, target)


#: Target, variables, and what the app shall see as SCRIPT_NAME and PATH_INFO.
MOUNTS: list[tuple[str, dict[str, str | None], str, str]] = [
    # nginx leaves the mount point in PATH_INFO.
    ("/app/x", {"SCRIPT_NAME": "/app"}, "/app", "/x"),
    ("/app/app/x", {"SCRIPT_NAME": "/app"}, "/app", "/app/x"),
    ("/app", {"SCRIPT_NAME": "/app/"}, "/app", ""),
    ("/%61pp/x", {"SCRIPT_NAME": "/app"}, "/app", "/x"),
    # CGI, and Apache, take it off.
    ("/app/x", {"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, "/app", "/x"),
    ("/app/app/x", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x"}, "/app", "/app/x"),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": ""}, "/app", ""),
    # A part of a name is no mount point, and a rewritten path may have none.
    ("/apple", {"SCRIPT_NAME": "/app"}, "/app", "/apple"),
    ("/old", {"SCRIPT_NAME": "/app", "PATH_INFO": "/new"}, "/app", "/new"),
    ("/x", {"SCRIPT_NAME": "/"}, "", "/x"),
    # Without PATH_INFO the request line tells, and the other way round.
    ("/a%20b?c", {"PATH_INFO": None}, "", "/a b"),
    ("/app/a%20b", {"PATH_INFO": None, "SCRIPT_NAME": "/app"}, "/app", "/a b"),
    ("/x", {"REQUEST_URI": None, "PATH_INFO": "/a b"}, "", "/a b"),
]


def test_script_name(show: Server) -> None:
    for target, more, script_name, path in MOUNTS:
        found = environ_of(show, target, more=more)
        assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == (script_name, path), (target, more)


def test_script_name_of_the_process(serve: Serve) -> None:
    """It holds where the front end tells none, as over HTTP."""
    server = start(serve, app="show:app", files={"show.py": SHOW}, env={"SCRIPT_NAME": "/app"})
    found = environ_of(server, "/app/x", more={"SCRIPT_NAME": ""})
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/app", "/x")
    found = environ_of(server, "/other/x", more={"SCRIPT_NAME": "/other"})
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/other", "/x")
    with server.connect() as connection:
        assert exchange(connection, target="/elsewhere").status == 500
    server.expect_log("not under SCRIPT_NAME '/app'|not under SCRIPT_NAME \"/app\"")


SCHEMES: list[tuple[dict[str, str | None], str]] = [
    ({}, "http"),
    ({"REQUEST_SCHEME": None}, "http"),
    ({"REQUEST_SCHEME": "https"}, "https"),
    ({"HTTPS": "on"}, "https"),
    ({"HTTPS": ""}, "http"),
    ({"UWSGI_SCHEME": "https"}, "https"),
    ({"UWSGI_SCHEME": "", "HTTPS": "on"}, "https"),
    ({"wsgi.url_scheme": "https"}, "https"),
]


def test_scheme(show: Server) -> None:
    for more, scheme in SCHEMES:
        assert environ_of(show, more=more)["wsgi.url_scheme"] == scheme, more


def test_fields_that_come_twice_are_one_key(show: Server) -> None:
    fields = (("Cookie", "a=1"), ("Cookie", "b=2"), ("X-A", "1"), ("X-A", "2"))
    found = environ_of(show, fields=fields)
    assert found["HTTP_COOKIE"] == "a=1; b=2"
    assert found["HTTP_X_A"] == "1,2"


def test_the_last_word_about_a_variable_counts(show: Server) -> None:
    told = [*variables_of(), ("SERVER_NAME", "other.example"), ("PATH_INFO", "/last")]
    with show.connect() as connection:
        connection.send(packet(told))
        shown = json.loads(connection.read_response().body)["environ"]
    assert shown["SERVER_NAME"] == ["str", "other.example"]
    assert shown["PATH_INFO"] == ["str", "/last"]


def test_addresses_that_are_none(show: Server) -> None:
    """nginx on a unix socket knows no client's address; another front end may tell no port."""
    found = environ_of(show, more={"REMOTE_ADDR": "unix:", "REMOTE_PORT": ""})
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("unix:", "")
    found = environ_of(show, more={"REMOTE_ADDR": "2001:db8::7", "REMOTE_PORT": None})
    assert found["REMOTE_ADDR"] == "2001:db8::7"
    assert "REMOTE_PORT" not in found
    found = environ_of(show, more={"REMOTE_ADDR": None, "REMOTE_PORT": None})
    assert found["REMOTE_ADDR"] == "127.0.0.1"


def test_forwarded_fields_are_the_word_of_whom_remote_addr_names(serve: Serve) -> None:
    """nginx passes on what its client writes; only a proxy in front of it is believed."""
    server = start(
        serve,
        "--forwarded-allow-ips=10.0.0.0/8",
        "--trusted-proxy-headers=x-forwarded-for,x-forwarded-host",
        app="show:app",
        files={"show.py": SHOW},
    )
    fields = (
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "198.51.100.9"),
        ("X-Forwarded-Host", "shop.example"),
    )
    stranger = environ_of(server, fields=fields)
    assert stranger["wsgi.url_scheme"] == "http"
    assert (stranger["REMOTE_ADDR"], stranger["REMOTE_PORT"]) == ("203.0.113.7", "4711")
    assert stranger["SERVER_NAME"] == "www.example"
    ours = environ_of(server, fields=fields, more={"REMOTE_ADDR": "10.0.0.5"})
    assert ours["wsgi.url_scheme"] == "https"
    assert ours["REMOTE_ADDR"] == "198.51.100.9"
    assert "REMOTE_PORT" not in ours
    assert (ours["SERVER_NAME"], ours["SERVER_PORT"]) == ("shop.example", "443")
    for address in ("unix:", ""):
        found = environ_of(server, fields=fields, more={"REMOTE_ADDR": address})
        assert found["wsgi.url_scheme"] == "http"
    with server.connect() as connection:
        contradiction = (*fields, ("X-Forwarded-SSL", "off"))
        response = exchange(connection, fields=contradiction, more={"REMOTE_ADDR": "10.0.0.5"})
        assert response.status == 400
    server.expect_log(r"\(scheme-contradiction\)")


def test_hooks_see_the_client_and_its_request(serve: Serve) -> None:
    config = """
def pre_request(worker, req):
    from events import note
    note("request", method=req.method, uri=req.uri, query=req.query, version=req.version,
         headers=req.headers, remote=req.remote_addr, peer=req.peer_addr[0], scheme=req.scheme,
         closes=req.should_close())
"""
    server = start(serve, config=config)
    with server.connect() as connection:
        fields = (("Connection", "keep-alive"), ("X-A", "b"))
        exchange(connection, "POST", "/echo?x=y", b"body", fields, {"HTTPS": "on"})
    (event,) = server.events("request")
    assert (event["method"], event["uri"], event["query"]) == ("POST", "/echo?x=y", "x=y")
    assert event["version"] == [1, 1]
    assert ["X-A", "b"] in event["headers"]
    assert ["CONTENT-LENGTH", "4"] in event["headers"]
    assert event["remote"] == ["203.0.113.7", 4711]
    assert (event["peer"], event["scheme"], event["closes"]) == ("127.0.0.1", "https", True)


# The answer.


def test_an_answer_is_never_chunked_and_ends_its_connection(serve: Serve) -> None:
    server = start(serve, "--keep-alive", "30")
    for target, framing in [("/", "length"), ("/stream?pieces=3", "close")]:
        with server.connect() as connection:
            fields = (("Connection", "keep-alive"),)
            response = exchange(connection, target=target, fields=fields)
            assert (response.version, response.status) == ("HTTP/1.1", 200)
            assert response.framing == framing
            assert response.get("Connection") == "close"
            assert response.get("Transfer-Encoding") is None
            assert connection.read_to_close() == b""
    with server.connect() as connection:
        response = exchange(connection, "HEAD", "/large?bytes=1000")
        assert response.get("Content-Length") == "1000"
        assert connection.read_to_close() == b""


def test_a_second_packet_is_not_served(serve: Serve) -> None:
    server = start(serve)
    with server.connect() as connection:
        connection.send(message() + message(target="/pid"))
        assert connection.read_response().body == b"hello, world\n"
        assert connection.read_to_close() == b""


def test_a_front_end_may_say_that_it_has_finished(serve: Serve) -> None:
    server = start(serve)
    for body in (None, b"body"):
        with server.connect() as connection:
            connection.send(message("POST", "/echo", body))
            connection.finish_sending()
            assert connection.read_response().body == (body or b"")


def test_no_interim_answers(serve: Serve) -> None:
    """nginx would take one for the answer."""
    app = """
def app(environ, start):
    environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    start("200 OK", [("Content-Length", "4")])
    return [environ["wsgi.input"].read()]
"""
    server = start(serve, app="hints:app", files={"hints.py": app})
    with server.connect() as connection:
        sent = message("POST", "/", b"body", (("Expect", "100-continue"),))
        connection.send(sent[:-4])
        connection.send(sent[-4:])
        response = connection.read_response()
        assert (response.interim, response.body) == ([], b"body")


def test_an_answer_that_fails_late_is_cut(serve: Serve) -> None:
    server = start(serve)
    server.expect_log("Error (handling|while)")
    with server.connect() as connection:
        connection.send(message(target="/fail-late"))
        assert b"first piece\n" in connection.read_until(b"first piece\n")
        with pytest.raises(ConnectionResetError):
            while connection.sock.recv(1000):
                pass


# Bodies and limits.


def test_bodies_go_to_the_spool_like_any_other(serve: Serve) -> None:
    server = start(serve, "--body-buffer", "65536", "--threads", "2")
    with server.connect() as connection:
        response = exchange(connection, "POST", "/digest", LARGE)
    assert response.text == f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"


def test_the_length_of_the_body_is_what_content_length_says(serve: Serve) -> None:
    server = start(serve)
    told = variables_of("POST", "/environ", 3, (("Content-Length", "9"),))
    told += [("HTTP_TRANSFER_ENCODING", "chunked")]
    with server.connect() as connection:
        connection.send(packet(told) + b"abcdef")
        shown = json.loads(connection.read_response().body)
    assert shown["body"] == "abc"
    assert shown["environ"]["CONTENT_LENGTH"] == ["str", "3"]
    assert shown["environ"]["HTTP_TRANSFER_ENCODING"] == ["str", "chunked"]
    assert "HTTP_CONTENT_LENGTH" not in shown["environ"]


#: What is refused: what is sent, the status, and the rule in the log.
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "http": (format_request(), 400, "uwsgi-modifier"),
    "modifier1": (packet(variables_of(), modifier1=5), 400, "uwsgi-modifier"),
    "modifier2": (packet(variables_of(), modifier2=1), 400, "uwsgi-modifier"),
    "size": (packet(variables_of(), size=len(packet(variables_of())) - 5), 400, "uwsgi-length"),
    "empty": (packet([]), 400, "uwsgi-method-missing"),
    "no-method": (message(more={"REQUEST_METHOD": None}), 400, "uwsgi-method-missing"),
    "method": (message("get"), 400, "method"),
    "two-lengths": (
        packet([*variables_of("POST", "/", 3), ("CONTENT_LENGTH", "4")]) + b"abc",
        400,
        "uwsgi-contradiction",
    ),
    "bad-length": (message(more={"CONTENT_LENGTH": "+3"}), 400, "content-length"),
    "nul": (message(more={"X": "a\0"}), 400, "uwsgi-nul"),
    "no-name": (message(more={"": "a"}), 400, "uwsgi-name"),
    "line-in-a-field": (message(fields=(("X-A", "b\r\nX-B: c"),)), 400, "uwsgi-value"),
    "line-in-the-target": (message(more={"REQUEST_URI": "/\r\n"}), 400, "uwsgi-value"),
    "two-hosts": (message(fields=(("Host", "b"),)), 400, "host-duplicate"),
    "bad-host": (message(more={"HTTP_HOST": "a/b"}), 400, "host-invalid"),
    "input": (message(more={"wsgi.input": "x"}), 400, "uwsgi-reserved"),
    "expectation": (message(fields=(("Expect", "tea"),)), 417, "expectation"),
    "variables": (packet([("A", "")] * 1001), 431, "uwsgi-variables-limit"),
    "line-limit": (message(target="/" + "a" * 4100), 414, "request-line-limit"),
    "field-limit": (message(fields=(("X-A", "b" * 8190),)), 431, "field-size-limit"),
    "fields-limit": (message(fields=(("X-A", "b"),) * 100), 431, "fields-limit"),
    "body-limit": (message("POST", "/", b"a" * 1001), 413, "limit_request_body"),
}


def test_what_is_refused(serve: Serve) -> None:
    """However it arrives, with the status and a line that names the rule; the app is not called."""
    server = start(serve, "--limit-request-body", "1000")
    expected: Counter[str] = Counter()
    for name, (sent, status, rule) in REFUSED.items():
        for way, deliver in DELIVERIES.items():
            if len(sent) > 2000 and way == "bytewise":
                continue
            with server.connect() as connection:
                deliver(connection, sent)
                response = connection.read_response()
                assert response.status == status, name
                assert response.get("Connection") == "close"
            expected[rule] += 1
    server.expect_log(INVALID)

    def told() -> bool:
        found = Counter(re.findall(r"\(([a-z0-9_-]+)\)(?:: 413)?$", server.log, re.MULTILINE))
        return all(found[rule] == count for rule, count in expected.items())

    wait_for(told, 10.0, f"the log to name each rule so often: {expected}")


def test_what_is_at_the_limits_is_served(show: Server) -> None:
    line = "/" + "a" * (4094 - len("GET / HTTP/1.1"))
    fields = (("X-A", "b" * (8190 - len("X-A: \r\n"))), *((("X-B", "c"),) * 98))
    # Variables of the front end's own are bounded by the packet alone.
    found = environ_of(show, line, fields, {"SSL_CLIENT_CERT": "-----BEGIN\n\t" + "x" * 20_000})
    assert found["PATH_INFO"] == line
    assert len(found["SSL_CLIENT_CERT"]) > 20_000


def test_deadlines(serve: Serve) -> None:
    server = start(serve, "--header-timeout", "1", "--body-timeout", "1")
    part = message()[:40]
    for sent in (part[:1], part[:4], part, message("POST", "/", b"body")[:-1]):
        with server.connect() as connection:
            connection.send(sent)
            assert connection.read_response().status == 408


def test_a_request_that_is_cut_is_named(serve: Serve) -> None:
    """The report shows the client's request, not the packet's bytes."""
    server = start(serve, "--timeout", "1", "--threads", "1", "--access-logfile", "access.log")
    with server.connect(timeout=30.0) as connection:
        target = "/sleep?seconds=60"
        assert exchange(connection, target=target).status == 504
    server.expect_log(r"GET /sleep\?seconds=60")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    lines = server.directory / "access.log"
    line = wait_for(lines.read_text, 20.0, "a line in the access log")
    assert line.startswith("203.0.113.7 ")
    assert re.search(r'"GET /sleep\?seconds=60 HTTP/1.1" 504 ', line)


# Who may.


def test_others_are_turned_away(serve: Serve) -> None:
    server = start(serve, "--uwsgi-allow-from", "10.0.0.0/8,::1")
    server.expect_log(INVALID + r"127.0.0.1: .*uwsgi_allow_ips \(uwsgi-forbidden\)")
    for sent in (b"\0", message(), format_request()):
        with server.connect() as connection:
            connection.send(sent)
            response = connection.read_response()
            assert response.status == 403
            assert response.get("Connection") == "close"
            assert connection.read_to_close() == b""


@pytest.mark.parametrize("allowed", ["127.0.0.0/8", "*", "::ffff:127.0.0.1"])
def test_networks_let_in(serve: Serve, allowed: str) -> None:
    """Gunicorn compares texts, so that 127.0.0.0/8 lets nobody in."""
    server = start(serve, "--uwsgi-allow-from", allowed)
    with server.connect() as connection:
        assert exchange(connection).status == 200


def test_unix_sockets_let_in(serve: Serve) -> None:
    server = start(serve, "--uwsgi-allow-from", "10.0.0.1", bind="unix:app.sock")
    found = environ_of(server)
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("www.example", "8080")
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("203.0.113.7", "4711")
    found = environ_of(server, more={"SERVER_NAME": None, "SERVER_PORT": None})
    assert (found["SERVER_NAME"], found["SERVER_PORT"]) == ("www.example", "8080")


@pytest.mark.parametrize("source", ["203.0.113.9", "198.51.100.9"])
def test_behind_a_proxy_header_it_is_whom_it_names(serve: Serve, source: str) -> None:
    allowed = source.startswith("203")
    server = start(serve, "--proxy-protocol", "v1", "--uwsgi-allow-from", "203.0.113.0/24")
    header = f"PROXY TCP4 {source} 198.51.100.1 4711 443\r\n".encode()
    for deliver in DELIVERIES.values():
        with server.connect() as connection:
            deliver(connection, header + message())
            assert connection.read_response().status == (200 if allowed else 403)
    with server.connect() as connection:
        connection.send(b"PROXY UNKNOWN\r\n" + message())
        assert connection.read_response().status == 403
    server.expect_log(r"\(uwsgi-forbidden\)")


def test_over_tls(serve: Serve, tmp_path: Path) -> None:
    """The scheme is the client's, not the front end's."""
    authority = Authority(tmp_path)
    pair = authority.pair("server", HOST, "127.0.0.1", "localhost")
    options = ("--protocol", "uwsgi", "--threads", "2")
    server = authority.serve(serve, "probes:app", pair, *options, probe=None)
    assert "Listening at: suwsgi://" in server.log
    assert environ_of(server)["wsgi.url_scheme"] == "http"
    assert environ_of(server, more={"REQUEST_SCHEME": "https"})["wsgi.url_scheme"] == "https"
    with server.connect() as connection:
        response = exchange(connection, "POST", "/digest", LARGE)
        assert response.text == f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"
        assert connection.read_to_close() == b""


def test_the_start_says_what_is_spoken(serve: Serve) -> None:
    server = start(serve, "--uwsgi-allow-from", "127.0.0.1,10.0.0.0/8")
    host, port = server.address
    assert f"Listening at: uwsgi://{host}:{port} " in server.log
    assert "these peers may use it (uwsgi_allow_ips): 127.0.0.1, 10.0.0.0/8" in server.log


def test_who_leaves_in_the_middle_leaves_nothing_behind(serve: Serve) -> None:
    server = start(serve)
    body = message("POST", "/", b"body")
    with server.assert_no_descriptor_growth(timeout=20.0):
        for end in (0, 1, 3, 4, 20, len(body) - 1):
            with Connection(server.address) as connection:
                connection.send(body[:end])
            with Connection(server.address) as connection:
                connection.send(body[:end])
                connection.reset()
