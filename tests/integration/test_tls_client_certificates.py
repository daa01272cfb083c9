"""Mutual TLS: who may connect, and what the app learns of them."""

import json
import ssl
import subprocess
from pathlib import Path

import pytest

from support.client import Connection, SecureAddress, connect
from support.server import Server
from support.serving import Serve
from support.tls import HOST, Authority, Pair
from support.tools import need_tool


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def client(authority: Authority) -> Pair:
    return authority.pair(
        "client", "client.example", "someone@client.example", common_name="client.example"
    )


@pytest.fixture
def stranger(tmp_path: Path) -> Pair:
    """Signed by somebody whom the server does not know."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    return Authority(folder).pair("client", "client.example")


def start(serve: Serve, authority: Authority, cert_reqs: int, context: ssl.SSLContext) -> Server:
    pair = authority.pair("server")
    return authority.serve(
        serve,
        "secure:app",
        pair,
        "--cert-reqs",
        str(cert_reqs),
        "--ca-certs",
        str(authority.file),
        "--log-level",
        "debug",
        context=context,
    )


def attempt(server: Server, context: ssl.SSLContext) -> dict[str, str] | None:
    """What the app sees of the client; None where it is refused."""
    host, port = server.address
    try:
        with Connection(SecureAddress.of((host, port), context, HOST)) as connection:
            # In TLS 1.3 a client hears of its refusal with the first answer.
            return json.loads(connection.request().body)  # type: ignore[no-any-return]
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return None


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_required(
    serve: Serve, authority: Authority, client: Pair, stranger: Pair, version: ssl.TLSVersion
) -> None:
    """Only clients with a good certificate get in."""
    good = authority.context(client)
    server = start(serve, authority, 2, good)
    for context, allowed in (
        (good, True),
        (authority.context(), False),
        (authority.context(stranger), False),
    ):
        context.minimum_version = context.maximum_version = version
        seen = attempt(server, context)
        assert (seen is not None) == allowed
        if seen:
            assert seen["SSL_CLIENT_VERIFY"] == "SUCCESS"
    server.wait_log("TLS with 127.0.0.1 has failed", count=2)


@VERSIONS
def test_optional(
    serve: Serve, authority: Authority, client: Pair, stranger: Pair, version: ssl.TLSVersion
) -> None:
    """A client may come without, but not with a bad one."""
    server = start(serve, authority, 1, authority.context())
    for own, verified in ((client, "SUCCESS"), (None, "NONE"), (stranger, None)):
        context = authority.context(own)
        context.minimum_version = context.maximum_version = version
        seen = attempt(server, context)
        assert (seen and seen["SSL_CLIENT_VERIFY"]) == verified
        if own is None:
            assert seen is not None
            assert [key for key in seen if key.startswith("SSL_")] == ["SSL_CLIENT_VERIFY"]


def test_what_the_app_sees(serve: Serve, authority: Authority, client: Pair) -> None:
    """mod_ssl's keys, and `getpeercert` as Python's ssl has it."""
    server = start(serve, authority, 2, authority.context(client))
    with server.connect() as connection:
        seen = json.loads(connection.request().body)
        assert seen["SSL_CLIENT_CERT"] == ssl.DER_cert_to_PEM_cert(client.der)
        assert "CN=client.example" in seen["SSL_CLIENT_S_DN"]
        assert seen["SSL_CLIENT_SAN_DNS_0"] == "client.example"
        assert seen["SSL_CLIENT_SAN_Email_0"] == "someone@client.example"
        assert seen["SSL_CLIENT_M_VERSION"] == "3"
        peer = json.loads(connection.request(target="/peer").body)
        assert peer["binary"] == client.der.hex()
        # What OpenSSL itself makes of the same certificate.
        decoded = ssl._ssl._test_decode_cert(str(client.certfile))  # type: ignore[attr-defined]
        assert peer["certificate"] == json.loads(json.dumps(decoded))
        assert seen["SSL_CLIENT_V_END"] == decoded["notAfter"]
        assert seen["SSL_CLIENT_V_START"] == decoded["notBefore"]
        assert seen["SSL_CLIENT_M_SERIAL"].lstrip("0") == decoded["serialNumber"].lstrip("0")
        # The next request on the connection sees the same.
        assert json.loads(connection.request().body) == seen


def test_names_as_openssl_writes_them(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    """The subject in the form of RFC 2253, also with characters that need quoting."""
    openssl = need_tool("openssl")
    client = authority.pair(
        "client", "client.example", common_name="Last, First", organization_name="A+B Köln"
    )
    server = start(serve, authority, 2, authority.context(client))
    seen = json.loads(server.get().body)
    printed = subprocess.run(
        [
            openssl,
            "x509",
            "-in",
            str(client.certfile),
            "-noout",
            "-subject",
            "-issuer",
            "-nameopt",
            "RFC2253,-esc_msb,utf8",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout.splitlines()
    assert f"subject={seen['SSL_CLIENT_S_DN']}" == printed[0]
    assert f"issuer={seen['SSL_CLIENT_I_DN']}" == printed[1]


@VERSIONS
def test_resumption_remembers_the_client(
    serve: Serve, authority: Authority, client: Pair, version: ssl.TLSVersion
) -> None:
    """A resumed session has the certificate of the first; not when who may vouch has changed."""
    context = authority.context(client)
    context.minimum_version = context.maximum_version = version
    server = start(serve, authority, 2, context)
    host, port = server.address

    def visit(session: ssl.SSLSession | None, own: ssl.SSLContext) -> tuple[bool, ssl.SSLSession]:
        raw = connect((host, port))
        with own.wrap_socket(raw, server_hostname=HOST, session=session) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            received = b""
            while data := sock.recv(65536):
                received += data
            assert b"CN=client.example" in received
            assert sock.session is not None
            return bool(sock.session_reused), sock.session

    _, session = visit(None, context)
    resumed, _ = visit(session, context)
    assert resumed
    # The file names another authority beside the first from now on: tickets are void.
    other = Authority(authority.folder, "other")
    both = authority.file.read_bytes() + other.file.read_bytes()
    authority.file.write_bytes(both)
    server.wait_log("TLS files have changed and are in use")
    resumed, _ = visit(session, context)
    assert not resumed
