"""New certificates and new code while clients are there; no request is lost."""

import os
import shutil
import signal
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.client import Connection, connect
from support.load import Load
from support.server import Server
from support.serving import Serve
from support.tls import Authority, Pair
from support.waiting import holds_for, wait_for

#: Seconds in which a new certificate has to be in use; files are looked at once a second.
FRESH = 5.0

KINDS = pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shown(server: Server) -> bytes:
    """The certificate that a new client is shown."""
    sock = connect(server.address)
    with sock:
        assert isinstance(sock, ssl.SSLSocket)
        certificate = sock.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


def put_in_place(new: Pair, old: Pair, *, link: bool = False) -> None:
    """The new pair under the old names, one file after the other."""
    for source, target in ((new.certfile, old.certfile), (new.keyfile, old.keyfile)):
        draft = target.with_suffix(".draft")
        if link:
            draft.symlink_to(source)
        else:
            shutil.copy(source, draft)
        draft.rename(target)


class Loads:
    """Both kinds of client at once."""

    def __init__(self, server: Server) -> None:
        self.loads = [
            Load(server.address, clients=2, keep_alive=True),
            Load(server.address, clients=2, keep_alive=False, pause=0.02),
        ]

    def __enter__(self) -> "Loads":
        for load in self.loads:
            load.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for load in self.loads:
            load.__exit__(*error)

    def assert_no_loss(self) -> None:
        for load in self.loads:
            load.assert_no_loss()


@KINDS
def test_reload_under_load(serve: Serve, authority: Authority, preload: list[str]) -> None:
    """HUP with new code: every request over TLS is answered."""
    pair = authority.pair("server")
    server = authority.serve(serve, "probes:app", pair, *preload, workers=2)
    with Loads(server) as loads:
        for count in (1, 2):
            server.send_signal(signal.SIGHUP)
            server.wait_log("Reload complete", 30.0, count=count)
    loads.assert_no_loss()


@KINDS
def test_new_files_under_load(serve: Serve, authority: Authority, preload: list[str]) -> None:
    """A new pair is in use soon in every worker, without a new worker and without a loss."""
    old, new = authority.pair("server"), authority.pair("new")
    before = old.der
    server = authority.serve(serve, "probes:app", old, *preload, workers=2)
    workers = server.workers()
    assert shown(server) == before
    with Connection(server.address) as kept:
        pid = kept.request(target="/pid").body
        with Loads(server) as loads:
            put_in_place(new, old)
            wait_for(lambda: shown(server) == new.der, FRESH, "the new certificate")
            for _ in range(20):
                assert shown(server) == new.der
        loads.assert_no_loss()
        assert kept.request(target="/pid").body == pid
    assert server.workers() == workers
    server.wait_log("TLS files have changed and are in use")


def test_links_are_followed(serve: Serve, authority: Authority) -> None:
    """As certbot and Kubernetes do it: the name stays, what it leads to changes."""
    old, new = authority.pair("server"), authority.pair("new")
    server = authority.serve(serve, "probes:app", old)
    put_in_place(new, old, link=True)
    wait_for(lambda: shown(server) == new.der, FRESH, "the new certificate")


def test_bad_files_change_nothing(serve: Serve, authority: Authority) -> None:
    """A file that does not fit is told once; the former pair stays until there is a good one."""
    old, new = authority.pair("server"), authority.pair("new")
    before, former_key = old.der, old.key
    server = authority.serve(serve, "probes:app", old, workers=2)
    message = "Changed TLS files cannot be used, the former certificate stays in use"
    server.expect_log(message)
    with Loads(server) as loads:
        shutil.copy(new.keyfile, old.keyfile)
        server.wait_log(message)
        holds_for(lambda: server.log.count(message) == 1, 2.5, "one line")
        assert shown(server) == before
        old.keyfile.unlink()
        server.wait_log(message, count=2)
        assert shown(server) == before
        old.keyfile.write_bytes(former_key)
        server.wait_log("The TLS files are again those in use")
        put_in_place(new, old)
        wait_for(lambda: shown(server) == new.der, FRESH, "the new certificate")
    loads.assert_no_loss()


def test_an_old_certificate_is_told(serve: Serve, authority: Authority) -> None:
    """One that ends soon is told once; a new one ends the matter."""
    soon = datetime.now(UTC) + timedelta(hours=50)
    old, new = authority.pair("server", not_after=soon), authority.pair("new")
    server = authority.serve(serve, "probes:app", old)
    server.expect_log(rf"The TLS certificate {old.certfile} expires in 49 hours")
    server.wait_log("expires in 49 hours")
    put_in_place(new, old)
    wait_for(lambda: shown(server) == new.der, FRESH, "the new certificate")
    holds_for(lambda: server.log.count("expires in") == 1, 1.5, "one line")


def test_a_new_worker_has_the_newest(serve: Serve, authority: Authority) -> None:
    """Workers that are forked after a rotation need no file, and begin with what is in use."""
    old, new = authority.pair("server"), authority.pair("new")
    server = authority.serve(serve, "probes:app", old, "--preload")
    put_in_place(new, old)
    wait_for(lambda: shown(server) == new.der, FRESH, "the new certificate")
    (worker,) = server.workers()
    server.allow_log(r"Worker \(pid:\d+\) was|SIGKILL|[Ww]orker")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.workers() not in ([], [worker]), 10.0, "a new worker")
    server.wait_ready()
    assert shown(server) == new.der


def test_hup_takes_new_files(serve: Serve, authority: Authority) -> None:
    """Under load: other names in the configuration, other files."""
    old, new = authority.pair("server"), authority.pair("new")
    text = "certfile = {!r}\nkeyfile = {!r}\n"
    server = authority.serve(
        serve,
        "probes:app",
        old,
        flags=[],
        workers=2,
        config=text.format(str(old.certfile), str(old.keyfile)),
    )
    config = server.directory / "conf.py"
    with Loads(server) as loads:
        config.write_text(text.format(str(new.certfile), str(new.keyfile)))
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", 30.0)
        assert shown(server) == new.der
    loads.assert_no_loss()


def test_hup_with_a_bad_file_changes_nothing(serve: Serve, authority: Authority) -> None:
    """The former workers, code and certificate stay; the log says why."""
    old = authority.pair("server")
    text = "certfile = {!r}\nkeyfile = {!r}\n"
    server = authority.serve(
        serve,
        "probes:app",
        old,
        flags=[],
        config=text.format(str(old.certfile), str(old.keyfile)),
    )
    workers = server.workers()
    server.expect_log(r"Reload failed, nothing has changed: TLS: cannot read .*no\.pem")
    config = server.directory / "conf.py"
    config.write_text(text.format("no.pem", str(old.keyfile)))
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed, nothing has changed")
    assert shown(server) == old.der
    assert server.workers() == workers
