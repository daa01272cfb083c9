"""Listeners: real sockets."""

import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from monoceros.errors import ConfigError
from monoceros.listeners import (
    AddressInUse,
    Listener,
    describe,
    open_listener,
    open_listeners,
)

CONF = SimpleNamespace(
    backlog=16,
    umask=0o027,
    is_ssl=False,
    uid=os.geteuid(),
    gid=os.getegid(),
    reuse_port=False,
    socket_mode=None,
)


def close(*listeners: Listener) -> None:
    for listener in listeners:
        listener.close()
        listener.remove()


def test_tcp() -> None:
    listener = open_listener(("127.0.0.1", 0), CONF)
    port = listener.getsockname()[1]
    assert str(listener) == f"http://127.0.0.1:{port}"
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not listener.getblocking()
    assert os.get_inheritable(listener.fileno())
    with socket.create_connection(("127.0.0.1", port)):
        assert listener.get_backlog() == 1
    close(listener)
    assert listener.fileno() == -1


def test_ipv6() -> None:
    try:
        listener = open_listener(("::1", 0), CONF)
    except ConfigError as error:
        pytest.skip(f"needs IPv6: {error}")
    assert str(listener).startswith("http://[::1]:")
    assert listener.FAMILY == socket.AF_INET6
    close(listener)


def test_a_taken_port_is_told_in_one_line() -> None:
    holder = open_listener(("127.0.0.1", 0), CONF)
    port = holder.getsockname()[1]
    with pytest.raises(AddressInUse) as caught:
        open_listener(("127.0.0.1", port), CONF)
    assert str(caught.value) == f"Can't listen on 127.0.0.1:{port}: Address already in use"
    close(holder)


def test_retry_is_asked_until_it_says_no() -> None:
    holder = open_listener(("127.0.0.1", 0), CONF)
    asked: list[AddressInUse] = []

    def retry(error: AddressInUse) -> bool:
        asked.append(error)
        return len(asked) < 3

    with pytest.raises(AddressInUse):
        open_listeners([holder.getsockname()], CONF, retry=retry)
    assert len(asked) == 3
    close(holder)


def test_retry_succeeds_when_the_address_becomes_free() -> None:
    holder = open_listener(("127.0.0.1", 0), CONF)
    address = holder.getsockname()

    def retry(_error: AddressInUse) -> bool:
        holder.close()
        return True

    (listener,) = open_listeners([address], CONF, retry=retry)
    close(listener)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_told_in_one_line(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_listener((host, 0), CONF)
    assert host in str(caught.value)
    assert "\n" not in str(caught.value)


def test_opening_is_all_or_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    holder = open_listener(("127.0.0.1", 0), CONF)
    with pytest.raises(ConfigError):
        open_listeners([path, holder.getsockname()], CONF)
    assert not Path(path).exists()
    close(holder)


def test_what_is_open_is_handed_on_and_survives_a_failure(tmp_path: Path) -> None:
    first = open_listeners([str(tmp_path / "a")], CONF)
    holder = open_listener(("127.0.0.1", 0), CONF)
    with pytest.raises(ConfigError):
        open_listeners([str(tmp_path / "a"), holder.getsockname()], CONF, existing=first)
    assert first[0].fileno() >= 0
    assert (tmp_path / "a").exists()
    second = open_listeners([str(tmp_path / "b"), str(tmp_path / "a")], CONF, existing=first)
    assert second[1] is first[0]
    close(holder, *second)


def test_a_unix_socket_has_the_mode_of_the_umask_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = open_listener(str(path), CONF)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~0o027
    assert str(listener) == f"unix:{path}"
    close(listener)
    assert not path.exists()


def test_a_unix_socket_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for mode in (0o660, 0o600, 0o777):
        listener = open_listener(str(path), SimpleNamespace(**vars(CONF) | {"socket_mode": mode}))
        assert stat.S_IMODE(path.stat().st_mode) == mode
        close(listener)


def test_a_dead_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    close(open_listener(str(path), CONF))


@pytest.mark.parametrize("backlog", [0, 16])
def test_a_living_socket_is_not_stolen(tmp_path: Path, backlog: int) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as client:
        living.bind(path)
        living.listen(backlog)
        if backlog == 0:
            client.connect(path)  # now its queue is full
        with pytest.raises(AddressInUse, match="a living process listens there"):
            open_listener(path, CONF)
        assert Path(path).exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="no socket"):
        open_listener(str(path), CONF)
    assert path.read_text() == "data"


def test_somebody_elses_socket_in_our_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = open_listener(str(path), CONF)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        close(listener)
        assert path.exists()


def test_an_abstract_socket_has_no_file() -> None:
    name = f"\0monoceros-test-{os.getpid()}"
    listener = open_listener(name, CONF)
    assert str(listener) == f"unix:@{name[1:]}"
    close(listener)


def test_an_inherited_descriptor_beside_another_bind(tmp_path: Path) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        number = os.dup(given.fileno())
        listeners = open_listeners([number, str(tmp_path / "a")], CONF)
        assert len(listeners) == 2
        assert listeners[0].fileno() == number
        assert str(listeners[0]) == f"http://127.0.0.1:{given.getsockname()[1]}"
        assert listeners[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        close(*listeners)


@pytest.mark.parametrize("what", ["closed", "file", "datagram"])
def test_a_descriptor_that_is_no_stream_socket_is_told(tmp_path: Path, what: str) -> None:
    path = tmp_path / "f"
    path.write_text("")
    with path.open() as file, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        number = {"closed": 1000, "file": file.fileno(), "datagram": datagram.fileno()}[what]
        with pytest.raises(ConfigError, match=f"fd://{number}"):
            open_listener(number, CONF)
        os.fstat(file.fileno())  # still open, still its owner's
        os.fstat(datagram.fileno())


def test_addresses_are_described_as_they_were_written() -> None:
    assert describe(("::1", 80)) == "[::1]:80"
    assert describe(("host", 80)) == "host:80"
    assert describe("/a/b") == "unix:/a/b"
    assert describe(3) == "fd://3"
