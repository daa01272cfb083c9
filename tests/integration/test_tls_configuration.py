"""What operators say about TLS: what is taken, and what keeps the server from starting."""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from support.client import Connection, SecureAddress
from support.server import command, environment
from support.serving import Serve
from support.tls import HOST, Authority, Pair

PASSWORD = "MONOCEROS_KEYFILE_PASSWORD"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair("server")


def refused(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """The one line with which the command refuses to start."""
    result = subprocess.run(
        [*command(), "--bind", "127.0.0.1:0", *arguments, "probes:app"],
        cwd=folder,
        env=environment(folder, env or {}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "Listening" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "[INFO]" not in line and line.strip()]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_keys_that_cannot_be_had(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    """Every line names the file, and says what to do where that is not plain."""
    other = authority.pair("other")
    empty, missing = tmp_path / "empty.pem", tmp_path / "missing.pem"
    empty.write_text("nothing\n")
    cert, key = str(pair.certfile), str(pair.keyfile)
    cases = [
        ([cert, str(missing)], [str(missing), "no such file"]),
        ([str(missing), key], [str(missing), "no such file"]),
        ([str(empty), key], [str(empty), "BEGIN CERTIFICATE"]),
        ([cert, str(empty)], [str(empty), "BEGIN PRIVATE KEY"]),
        ([key, key], [key, "BEGIN CERTIFICATE"]),
        ([cert, str(other.keyfile)], [cert, str(other.keyfile), "do not go together"]),
    ]
    for (certfile, keyfile), named in cases:
        line = refused(tmp_path, "--certfile", certfile, "--keyfile", keyfile)
        assert all(text in line for text in named), line
        checked = refused(tmp_path, "--check-config", "--certfile", certfile, "--keyfile", keyfile)
        assert all(text in checked for text in named), checked
    broken = tmp_path / "broken.pem"
    broken.write_bytes(pair.chain.replace(b"M", b"!", 1))
    assert str(broken) in refused(tmp_path, "--certfile", str(broken), "--keyfile", key)


def test_settings_that_cannot_be(tmp_path: Path, pair: Pair) -> None:
    cases = {
        ("--keyfile", str(pair.keyfile)): ["certfile"],
        (*pair.flags, "--cert-reqs", "2"): ["cert_reqs", "ca_certs"],
        (*pair.flags, "--cert-reqs", "3"): ["cert_reqs", "3"],
        ("--cert-reqs", "2"): ["cert_reqs", "certfile"],
        (*pair.flags, "--ciphers", "HIGH:NO-SUCH"): ["NO-SUCH"],
        (*pair.flags, "--ciphers", "RC4:3DES"): ["RC4, 3DES", "ECDHE-RSA-AES256-GCM-SHA384"],
        (*pair.flags, "--ssl-version", "TLSv9"): ["ssl_version", "TLSv9", "TLSv1_3"],
        (*pair.flags, "--ca-certs", str(pair.keyfile)): [str(pair.keyfile)],
        (*pair.flags, "--sni-cert", "none.crt:none.key"): ["none.crt"],
    }
    for arguments, named in cases.items():
        line = refused(tmp_path, *arguments)
        assert all(text in line for text in named), line


def test_the_hook_of_openssl_is_refused(tmp_path: Path, pair: Pair) -> None:
    """`ssl_context` cannot be honoured: the line says what to use instead."""
    (tmp_path / "conf.py").write_text("def ssl_context(conf, default):\n    return default()\n")
    line = refused(tmp_path, "-c", "conf.py", *pair.flags)
    assert "ssl_context" in line
    assert "ciphers" in line


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_key_forms(serve: Serve, authority: Authority, form: PrivateFormat, kind: str) -> None:
    """PKCS#8, PKCS#1 and SEC1; also with the certificate in one file."""
    import trustme

    pair = authority.pair("made", key_type=trustme.KeyType[kind])
    pair.certfile.write_bytes(pair.key_in(form) + pair.chain)
    server = authority.serve(serve, "secure:app", pair, flags=["--certfile", str(pair.certfile)])
    assert server.get().status == 200


def test_encrypted_key(serve: Serve, tmp_path: Path, authority: Authority, pair: Pair) -> None:
    """PKCS#8 opens with the pass phrase from environment or file, which is never shown."""
    plain = pair.key
    pair.keyfile.write_bytes(pair.key_in(PrivateFormat.PKCS8, "pass phrase"))
    line = refused(tmp_path, *pair.flags)
    assert str(pair.keyfile) in line
    assert PASSWORD in line
    line = refused(tmp_path, *pair.flags, env={PASSWORD: "wrong"})
    assert "pass phrase" in line
    assert "wrong" not in line
    assert (
        authority.serve(serve, "secure:app", pair, env={PASSWORD: "pass phrase"}).get().status
        == 200
    )
    server = authority.serve(serve, "secure:app", pair, config="keyfile_password = 'pass phrase'\n")
    assert server.get().status == 200
    shown = subprocess.run(
        [*command(), "--print-config", "-c", "conf.py", *pair.flags, "probes:app"],
        cwd=server.directory,
        env=environment(server.directory, {}),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    assert "keyfile_password" in shown
    assert "pass phrase" not in shown
    pair.keyfile.write_bytes(plain)


def test_encrypted_by_openssl_itself(
    serve: Serve, tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    """The command that the message for old keys gives makes a key that works."""
    from support.tools import need_tool

    openssl = need_tool("openssl")
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    old.write_bytes(pair.key_in(PrivateFormat.TraditionalOpenSSL, "pass phrase"))
    line = refused(tmp_path, "--certfile", str(pair.certfile), "--keyfile", str(old))
    text = line[line.index("openssl pkcs8") :].replace("NEW_FILE", str(new)).split()
    words = [openssl, *text[1:], "-passin", "pass:pass phrase", "-passout", "pass:other"]
    subprocess.run(words, check=True, capture_output=True, timeout=20)
    pair.keyfile.write_bytes(new.read_bytes())
    server = authority.serve(serve, "secure:app", pair, env={PASSWORD: "other"})
    assert server.get().status == 200


def test_certificates_by_name(serve: Serve, authority: Authority, pair: Pair) -> None:
    """SNI: by host, by wildcard, and the first for everybody else."""
    one = authority.pair("one", "one.example", "also.example")
    wild = authority.pair("wild", "*.wild.example")
    both = authority.folder / "both.pem"
    both.write_bytes(wild.chain + wild.key)
    server = authority.serve(
        serve,
        "secure:app",
        pair,
        "--sni-cert",
        f"{one.certfile}:{one.keyfile}",
        "--sni-cert",
        str(both),
    )
    host, port = server.address

    def shown(name: str | None) -> bytes:
        context = authority.context()
        context.check_hostname = False
        with Connection(SecureAddress.of((host, port), context, name)) as connection:
            assert connection.request().status == 200
            return connection.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]

    assert shown("one.example") == shown("ALSO.example") == one.der
    assert shown("a.wild.example") == wild.der
    for name in ("test.example", "wild.example", "a.b.wild.example", "unknown.example", None):
        assert shown(name) == pair.der, name


def test_two_kinds_of_key_for_one_name(serve: Serve, authority: Authority) -> None:
    """A client is shown the certificate that it can check."""
    import ssl

    import trustme

    pair = authority.pair("other", "other.example")
    ecdsa = authority.pair("ecdsa", HOST, key_type=trustme.KeyType.ECDSA)
    rsa = authority.pair("rsa", HOST, key_type=trustme.KeyType.RSA)
    flags = [
        flag for each in (ecdsa, rsa) for flag in ("--sni-cert", f"{each.certfile}:{each.keyfile}")
    ]
    server = authority.serve(serve, "secure:app", pair, *flags)
    host, port = server.address
    for ciphers, expected in (
        ("ECDHE-RSA-AES128-GCM-SHA256", rsa),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa),
    ):
        context = authority.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        with Connection(SecureAddress.of((host, port), context, HOST)) as connection:
            shown = connection.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
            assert shown == expected.der


def test_ipv6_and_unix(serve: Serve, authority: Authority, pair: Pair) -> None:
    """Every listener speaks TLS."""
    from support.ports import free_port

    port = free_port("::1")
    server = authority.serve(
        serve,
        "secure:app",
        pair,
        bind=f"[::1]:{port}",
        address=SecureAddress.of(("::1", port), authority.context(), HOST),
    )
    assert f"Listening at: https://[::1]:{port} (" in server.log
    assert json.loads(server.get().body)["wsgi.url_scheme"] == "https"
    server = authority.serve(serve, "secure:app", pair, bind="unix:app.sock", probe=None)
    assert isinstance(server.address, str)
    with Connection(server.address) as connection:
        connection.sock = authority.context().wrap_socket(connection.sock, server_hostname=HOST)
        seen = json.loads(connection.request().body)
        assert (seen["wsgi.url_scheme"], seen["SERVER_PORT"]) == ("https", "443")


def test_gunicorns_words(serve: Serve, authority: Authority, pair: Pair) -> None:
    """Values of Gunicorn's configuration files are understood."""
    server = authority.serve(
        serve,
        "secure:app",
        pair,
        flags=[],
        config=f"""
import ssl
certfile = {str(pair.certfile)!r}
keyfile = {str(pair.keyfile)!r}
ssl_version = ssl.PROTOCOL_TLSv1_2
cert_reqs = ssl.CERT_NONE
ciphers = "HIGH:!aNULL"
do_handshake_on_connect = True
suppress_ragged_eofs = False
""",
    )
    assert server.get().status == 200
