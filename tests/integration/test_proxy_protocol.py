"""The PROXY protocol: headers by hand, byte by byte, and from the proxies that speak it."""

import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.client import DELIVERIES, Connection, format_request
from support.ports import free_port
from support.programs import Programs, serves, upstream_of
from support.serving import Serve
from support.tools import need_file, need_tool

INVALID = "Invalid request from ip="
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

LINE = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
LINE6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"


def binary(
    source: str = "203.0.113.7",
    destination: str = "198.51.100.1",
    *,
    command: int = 0x21,
    extensions: bytes = b"",
) -> bytes:
    """A header of version 2."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    block = addresses + struct.pack("!HH", 4711, 443) + extensions
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + struct.pack("!BBH", command, kind, len(block)) + block


GOOD = {
    "v1": LINE,
    "v1-ipv6": LINE6,
    "v2": binary(),
    "v2-ipv6": binary("2001:db8::7", "2001:db8::1"),
    "v2-extensions": binary(extensions=b"\x01\0\x02h2\x05\0\x80" + b"i" * 128),
}

#: Headers after which the client is who has connected.
ANONYMOUS = {
    "UNKNOWN": b"PROXY UNKNOWN\r\n",
    "LOCAL": SIGNATURE + b"\x20\0\0\0",
    "LOCAL-address": binary(command=0x20),
    "UNSPEC": SIGNATURE + b"\x21\0\0\x03abc",
}


def understood(response: Any) -> dict[str, Any]:
    assert response.status == 200, response
    return {key: value for key, (_, value) in json.loads(response.body)["environ"].items()}


def environ_of(connection: Connection, preface: bytes = b"", **request: Any) -> dict[str, Any]:
    connection.send(preface + format_request(target="/environ", **request))
    return understood(connection.read_response())


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_client_is_whom_the_header_names(serve: Serve, threads: str) -> None:
    """For every request of the connection, however the bytes arrive, in environ and log."""
    server = serve(
        "probes:app",
        "--proxy-protocol",
        "--threads",
        threads,
        "--access-logfile",
        "access.log",
        probe=None,
    )
    answers = 0
    for name, header in GOOD.items():
        address = "2001:db8::7" if "ipv6" in name else "203.0.113.7"
        for deliver in DELIVERIES.values():
            with server.connect() as connection:
                deliver(connection, header + format_request(target="/environ"))
                first = understood(connection.read_response())
                later = [environ_of(connection) for _ in range(2)]
            answers += 3
            for found in (first, *later):
                assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (address, "4711"), name
                assert found["PROXY_PROTOCOL"] == ("TCP6" if "ipv6" in name else "TCP4")
                assert found["PROXY_PORT"] == "443"
                expected = "2001:db8::1" if "ipv6" in name else "198.51.100.1"
                assert found["PROXY_ADDR"] == expected
                assert found["SERVER_PORT"] == str(server.address[1])
    server.stop()
    lines = (server.directory / "access.log").read_text().splitlines()
    assert len(lines) == answers
    assert {line.split()[0] for line in lines} == {"203.0.113.7", "2001:db8::7"}


@pytest.mark.parametrize("name", ANONYMOUS)
def test_a_header_without_a_client(serve: Serve, name: str) -> None:
    server = serve("probes:app", "--proxy-protocol", "auto", probe=None)
    with server.connect() as connection:
        port = str(connection.sock.getsockname()[1])
        for preface in (ANONYMOUS[name], b""):
            found = environ_of(connection, preface)
            assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("127.0.0.1", port)
            assert found["PROXY_PROTOCOL"] == ("LOCAL" if "LOCAL" in name else "UNKNOWN")
            assert "PROXY_ADDR" not in found


BAD = {
    "none": (b"", "proxy-missing"),
    "tls": (b"\x16\x03\x01\x02\x00\x01", "proxy-missing"),
    "lower-case": (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "proxy-missing"),
    "crlf-first": (b"\r\n" + LINE, "proxy-missing"),
    "five-parts": (b"PROXY TCP4 203.0.113.7 198.51.100.1 4711\r\n", "proxy-line"),
    "address": (b"PROXY TCP4 example.com 198.51.100.1 4711 443\r\n", "proxy-line"),
    "address-family": (b"PROXY TCP4 ::1 ::1 4711 443\r\n", "proxy-line"),
    "port": (b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 65536\r\n", "proxy-line"),
    "bare-lf": (LINE.replace(b"\r", b""), "proxy-line"),
    "too-long": (b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "proxy-line"),
    "v2-version": (SIGNATURE + b"\x31\x11\0\0", "proxy-header"),
    "v2-command": (SIGNATURE + b"\x22\x11\0\0", "proxy-header"),
    "v2-datagram": (binary()[:13] + b"\x12" + binary()[14:], "proxy-header"),
    "v2-short": (SIGNATURE + b"\x21\x11\0\x04abcd", "proxy-header"),
    "v2-extension": (binary(extensions=b"\x01\0\x09short"), "proxy-header"),
    "v2-endless": (SIGNATURE + b"\x21\x11\xff\xff", "proxy-header-limit"),
}


def test_a_malformed_header_is_refused(serve: Serve) -> None:
    """With 400, one answer and an end, whatever way it is split; nothing reaches the app."""
    server = serve("probes:app", "--proxy-protocol", "auto", probe=None)
    server.allow_log("messages of this kind were left out")
    for _, rule in BAD.values():
        server.expect_log(f"{INVALID}127.0.0.1: .*\\({rule}\\)$")
    with server.assert_no_descriptor_growth():
        for name, (header, _) in BAD.items():
            for how, deliver in DELIVERIES.items():
                with server.connect() as connection:
                    deliver(connection, header + format_request("POST", "/received", body=b"x"))
                    assert connection.read_response().status == 400, (name, how)
                    assert connection.read_to_close() == b"", (name, how)
    assert not server.events("called")


def test_only_the_first_bytes_are_a_header(serve: Serve) -> None:
    """A second header is a malformed request, also in the body's place and when pipelined."""
    server = serve("probes:app", "--proxy-protocol", "v1", probe=None)
    server.expect_log(f"{INVALID}203.0.113.7: ")
    other = LINE.replace(b"203.0.113.7", b"10.0.0.1")
    with server.connect() as connection:
        connection.send(LINE + other + format_request())
        assert connection.read_response().status == 400
    with server.connect() as connection:
        connection.send(LINE + format_request(target="/environ") + other + format_request())
        assert understood(connection.read_response())["REMOTE_ADDR"] == "203.0.113.7"
        assert connection.read_response().status == 400
    with server.connect() as connection:
        connection.send(LINE + format_request("POST", "/echo", body=other) + format_request())
        assert connection.read_response().body == other
        assert connection.read_response().status == 200


@pytest.mark.parametrize(
    ("mode", "good", "bad"), [("v1", LINE, binary()), ("v2", binary(), LINE), ("V2", binary(), b"")]
)
def test_only_the_version_that_is_named(serve: Serve, mode: str, good: bytes, bad: bytes) -> None:
    server = serve("probes:app", "--proxy-protocol", mode, probe=None)
    server.expect_log("has to send one; let the proxy send it.*proxy-missing")
    with server.connect() as connection:
        assert environ_of(connection, good)["REMOTE_ADDR"] == "203.0.113.7"
    with server.connect() as connection:
        connection.send(bad + format_request())
        assert connection.read_response().status == 400


def test_off_means_that_nobody_may_send_one(serve: Serve) -> None:
    server = serve("probes:app")
    server.expect_log(INVALID)
    for header in (LINE, binary()):
        with server.connect() as connection:
            connection.send(header + format_request())
            assert connection.read_response().status == 400


def test_a_peer_that_is_not_allowed(serve: Serve) -> None:
    """With a header 403; without one it is a client like any other."""
    server = serve("probes:app", "--proxy-protocol", "--proxy-allow-from", "192.0.2.0/24")
    server.expect_log(f"{INVALID}127.0.0.1: .*proxy_allow_ips .*proxy-forbidden")
    for header in (LINE, binary(), b"PROXY "):
        for deliver in DELIVERIES.values():
            with server.connect() as connection:
                deliver(connection, header + format_request())
                assert connection.read_response().status == 403
                assert connection.read_to_close() == b""
    for deliver in DELIVERIES.values():
        with server.connect() as connection:
            deliver(connection, format_request("PUT", "/environ", body=b"x"))
            found = understood(connection.read_response())
            assert found["REMOTE_ADDR"] == "127.0.0.1"
            assert "PROXY_PROTOCOL" not in found
            assert environ_of(connection)["REMOTE_ADDR"] == "127.0.0.1"


def test_the_peer_of_a_unix_socket_is_allowed(serve: Serve) -> None:
    server = serve(
        "probes:app",
        "--proxy-protocol",
        "--proxy-allow-from",
        "192.0.2.1",
        bind="unix:app.sock",
        probe=None,
    )
    with server.connect() as connection:
        found = environ_of(connection, LINE)
        assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == ("203.0.113.7", "4711")
        assert environ_of(connection)["REMOTE_ADDR"] == "203.0.113.7"
    with server.connect() as connection:
        found = environ_of(connection, b"PROXY UNKNOWN\r\n")
        assert found["REMOTE_ADDR"] == ""
        assert "REMOTE_PORT" not in found


def test_headers_behind_the_preface_are_the_clients_word(serve: Serve) -> None:
    """A proxy that passes bytes on does not vouch for them: whom it names has to be trusted."""
    server = serve(
        "probes:app",
        "--proxy-protocol",
        "--forwarded-allow-ips",
        "127.0.0.1,10.0.0.0/8",
        "--trusted-proxy-headers",
        "x-forwarded-for",
        probe=None,
    )
    spoof = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "9.9.9.9"),
        ("SCRIPT_NAME", "/environ"),
    ]
    inner = LINE.replace(b"203.0.113.7", b"10.0.0.5")
    for preface, scheme, address in [
        (LINE, "http", "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n", "http", "127.0.0.1"),
        (inner, "https", "9.9.9.9"),
        (ANONYMOUS["LOCAL"], "https", "9.9.9.9"),
    ]:
        with server.connect() as connection:
            for part in (preface, b""):
                target = "/environ/environ" if scheme == "https" else "/environ"
                connection.send(part + format_request(target=target, fields=spoof))
                found = understood(connection.read_response())
                assert found["wsgi.url_scheme"] == scheme
                assert found["REMOTE_ADDR"] == address
                assert found["SCRIPT_NAME"] == ("/environ" if scheme == "https" else "")


def test_a_slow_header_ends_at_the_header_deadline(serve: Serve) -> None:
    server = serve("probes:app", "--proxy-protocol", "--header-timeout", "1", probe=None)
    with server.assert_no_descriptor_growth():
        for part in (LINE[:10], binary()[:20]):
            with server.connect() as connection:
                connection.send(part)
                assert connection.read_response().status == 408
        # After the header, the time for the request's own head starts with that.
        with server.connect() as connection:
            connection.send(LINE + b"GET")
            assert connection.read_response().status == 408
        # What leaves in the middle leaves nothing behind.
        for part in (b"", LINE[:10], LINE):
            with server.connect() as connection:
                if part:
                    connection.send(part)


def test_a_stop_does_not_wait_for_a_silent_connection(serve: Serve) -> None:
    """One that has sent its header and nothing else is as idle as one that has sent nothing."""
    server = serve("probes:app", "--proxy-protocol", "--graceful-timeout", "15", probe=None)
    with server.connect() as silent, server.connect() as announced:
        announced.send(LINE)
        assert environ_of(announced)["REMOTE_ADDR"] == "203.0.113.7"
        server.stop(timeout=10.0)
        silent.wait_closed(5.0)


def test_hooks_see_the_header(serve: Serve) -> None:
    config = """
def pre_request(worker, req):
    from events import note
    note("request", info=req.proxy_protocol_info, remote=req.remote_addr, peer=req.peer_addr[0])
"""
    server = serve("probes:app", "--proxy-protocol=auto", config=config, probe=None)
    with server.connect() as connection:
        environ_of(connection, LINE)
    (event,) = server.events("request")
    assert event["info"] == {
        "proxy_protocol": "TCP4",
        "client_addr": "203.0.113.7",
        "client_port": 4711,
        "proxy_addr": "198.51.100.1",
        "proxy_port": 443,
    }
    assert event["remote"] == ["203.0.113.7", 4711]
    assert event["peer"] == "127.0.0.1"


HAPROXY = """
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
frontend front
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server one 127.0.0.1:{upstream} {send} check inter 100
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Proxies that a test starts are ended with it."""
    running = Programs(tmp_path)
    yield running
    running.end()


@pytest.mark.parametrize("mode", ["tcp", "http"])
@pytest.mark.parametrize(
    "send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,ssl"]
)
def test_haproxy(serve: Serve, programs: Programs, mode: str, send: str) -> None:
    """Its health checks (LOCAL, UNKNOWN) find the server well, and clients are who they are."""
    program = need_tool("haproxy")
    server = serve("probes:app", "--proxy-protocol", "--threads", "2", probe=None)
    port = free_port()
    path = programs.folder / "haproxy.cfg"
    text = HAPROXY.format(mode=mode, port=port, upstream=server.address[1], send=send)
    path.write_text(text)
    address = ("127.0.0.1", port)
    programs.start([program, "-db", "-f", str(path)], address, serves(address))
    for source in ("127.0.0.1", "127.0.0.9"):
        with Connection(address) as connection:
            connection.sock.close()
            connection.sock = socket.create_connection(address, 10.0, (source, 0))
            own = connection.sock.getsockname()
            for _ in range(3):
                found = environ_of(connection)
                assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (own[0], str(own[1]))
                assert (found["PROXY_ADDR"], found["PROXY_PORT"]) == ("127.0.0.1", str(port))
                assert found["PROXY_PROTOCOL"] == "TCP4"


#: Where Debian has it (libnginx-mod-stream).
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

NGINX = """
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass {upstream};
        proxy_protocol on;
    }}
}}
"""


def test_nginx(serve: Serve, programs: Programs) -> None:
    built_in = "--with-stream " in version_of(need_tool("nginx"))
    load = "" if built_in else f"load_module {need_file(STREAM_MODULE)};"
    server = serve("probes:app", "--proxy-protocol", "v1", probe=None)
    port = free_port()
    settings = NGINX.format(port=port, upstream=upstream_of(server))
    address = programs.nginx(port, settings, load=load)
    with Connection(address) as connection:
        own = connection.sock.getsockname()
        for _ in range(2):
            found = environ_of(connection)
            assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (own[0], str(own[1]))


def version_of(nginx: str) -> str:
    return subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr + " "


def test_curl(serve: Serve) -> None:
    program = need_tool("curl")
    server = serve("probes:app", "--proxy-protocol", "--proxy-allow-from", "127.0.0.1", probe=None)
    done = subprocess.run(
        [program, "--silent", "--haproxy-protocol", server.url("/environ"), server.url("/environ")],
        capture_output=True,
        check=True,
        timeout=20,
    )
    environs = done.stdout.decode().replace("}{", "}\n{").splitlines()
    assert len(environs) == 2
    for text in environs:
        found = {key: value for key, (_, value) in json.loads(text)["environ"].items()}
        assert found["REMOTE_ADDR"] == "127.0.0.1"
        assert found["PROXY_PORT"] == str(server.address[1])
