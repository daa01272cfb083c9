"""The variables between an old master and a new one."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from monoceros import handover
from monoceros.errors import ConfigError
from monoceros.listeners import TCPListener, UnixListener, inherit

CONF = SimpleNamespace(backlog=5, is_ssl=False)


def environment(listeners: list[TCPListener | UnixListener], **more: object) -> dict[str, str]:
    options = {"master": os.getppid(), "pid": os.getpid(), "ready": 0, "manager": False}
    options |= {"in_place_of_bind": False} | more
    return handover.environment({"A": "1", "GUNICORN_FD": "99"}, listeners, **options)  # type: ignore[arg-type]


def test_there_and_back() -> None:
    """Addresses, abstract ones too, and the file that stands for a unix socket."""
    tcp = TCPListener(("localhost", 0), socket.create_server(("127.0.0.1", 0)), CONF)
    abstract = UnixListener(f"\0monoceros-{os.getpid()}", socket.socket(socket.AF_UNIX), CONF)
    abstract.sock.bind(abstract.cfg_addr)  # type: ignore[arg-type]
    abstract.sock.listen()
    abstract.file = (5, 6)
    copies = [os.dup(tcp.fileno()), os.dup(abstract.fileno())]
    environ = environment([tcp, abstract])
    assert environ["A"] == "1" and environ["GUNICORN_PID"] == str(os.getppid())
    assert environ["GUNICORN_FD"] == f"{tcp.fileno()},{abstract.fileno()}"
    for old, new in zip((tcp, abstract), copies, strict=True):
        environ["MONOCEROS_LISTENERS"] = environ["MONOCEROS_LISTENERS"].replace(
            f"[{old.fileno()},", f"[{new},", 1
        )
        old.close()
    environ["MONOCEROS_READY_FD"] = ""
    inheritance = handover.take(environ)
    assert inheritance.master == os.getppid() and not inheritance.unnamed
    assert environ == {"A": "1", "GUNICORN_PID": str(os.getppid())}
    first, second = inheritance.listeners(CONF)
    assert first.cfg_addr == ("localhost", 0) and isinstance(first, TCPListener)
    assert second.cfg_addr == abstract.cfg_addr and isinstance(second, UnixListener)
    assert second.file == (5, 6)
    first.close()
    second.close()


def test_for_somebody_else_they_count_for_nothing() -> None:
    environ = environment([], pid=os.getpid() + 1)
    assert not handover.is_heir(environ)
    assert handover.take(environ) == handover.Inheritance()
    assert environ == {"A": "1"}


def test_from_a_gunicorn() -> None:
    environ = {"GUNICORN_PID": str(os.getppid()), "GUNICORN_FD": "7,8"}
    assert handover.is_heir(environ)
    inheritance = handover.take(environ)
    assert inheritance.unnamed == [7, 8] and inheritance.ready == -1
    assert environ == {"GUNICORN_PID": str(os.getppid())}


def test_sockets_of_the_manager_are_told_its_way() -> None:
    environ = environment([], manager=True, pid=42)
    assert environ["LISTEN_PID"] == "42" and environ["LISTEN_FDS"] == "0"
    assert "GUNICORN_FD" not in environ and "MONOCEROS_LISTENERS" not in environ


def test_nonsense_is_told() -> None:
    environ = {"GUNICORN_PID": str(os.getppid()), "GUNICORN_FD": "seven"}
    with pytest.raises(ValueError, match="variables of an upgrade make no sense"):
        handover.take(environ)


def test_a_descriptor_that_is_no_socket_is_told() -> None:
    with (
        Path(os.devnull).open() as file,
        pytest.raises(ConfigError, match=r"Can't take over 1\.2\.3\.4:5"),
    ):
        inherit(file.fileno(), ("1.2.3.4", 5), None, CONF)
