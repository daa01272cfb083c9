"""The sockets that the server listens on; the arbiter opens them, the workers' engines accept.

Rules:
- Every socket is non-blocking and inheritable; TCP ones have SO_REUSEADDR.
- A unix socket's path is taken over only when nobody answers on it, and removed at the end only
  while it is still the file that we made.
- Opening is all or nothing: when one address fails, those opened before it are closed again.
- An address that is open already is handed on, not opened twice: a reload never closes and opens
  one that stays.

An address has the form that the configuration parses it to: `(host, port)` for TCP, a str for the
path of a unix socket (abstract when it begins with NUL), an int for an inherited descriptor.
"""

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from monoceros.errors import ConfigError

Address = tuple[str, int] | str | int

#: Attempts to bind an address that is in use, and the pause between them, seconds: what a server
#: that is being restarted needs to let go of it. With the start itself this stays below the six
#: seconds within which a taken port is told.
ATTEMPTS: Final = 5
PAUSE: Final = 1.0

#: How long a probe waits for a unix socket's owner to accept, seconds. A living owner's kernel
#: queue answers at once.
PROBE_TIMEOUT: Final = 1.0


#: Of <asm-generic/socket.h>; the module socket has no name for it.
SO_ATTACH_FILTER: Final = 26

#: A filter of one instruction: return 0, keep nothing (BPF_RET | BPF_K, see bpf(4) of BSD).
BPF_INSTRUCTION: Final = 8
DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)


class AddressInUse(ConfigError):
    """Somebody else listens on the address; may pass by waiting."""


class Listener:
    """A listening socket, with the names that Gunicorn's sockets have.

    Every attribute that is not here is the socket's own, so that event loops accept a listener
    where they want a socket.
    """

    FAMILY: socket.AddressFamily = socket.AF_INET

    def __init__(self, address: Address, sock: socket.socket, conf: Any) -> None:
        self.cfg_addr = address
        self.sock = sock
        self.conf = conf
        self.FAMILY = sock.family

    def __getattr__(self, name: str) -> Any:
        if name == "sock":  # not set yet: a copy or an unpickled one
            raise AttributeError(name)
        return getattr(self.sock, name)

    def fileno(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close this process's descriptor; others that share the socket keep it."""
        self.sock.close()

    def remove(self) -> None:
        """The server ends or gives up the address: remove what stands for it."""

    def seal(self) -> None:
        """Let nobody new into the kernel's queue, in all processes that share the socket, so that
        it can be emptied for good before it is closed."""

    def get_backlog(self) -> int:
        """Connections in the kernel's queue; -1 where it cannot be told."""
        return -1

    def __str__(self) -> str:
        scheme = "https" if getattr(self.conf, "is_ssl", False) else "http"
        if getattr(self.conf, "protocol", "http") == "uwsgi":
            scheme = "suwsgi" if scheme == "https" else "uwsgi"
        try:
            name = self.sock.getsockname()
        except OSError:
            name = self.cfg_addr
        if isinstance(name, str | bytes):
            return f"unix:{os.fsdecode(name)}"
        if isinstance(name, int):
            return f"fd://{name}"
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{scheme}://{host}:{name[1]}"


class TCPListener(Listener):
    """An IPv4 or IPv6 listener."""

    def seal(self) -> None:
        """Drop what arrives. A client that has just knocked knocks again after a second, and finds
        nobody, or another server. Not for a socket that somebody else may go on with."""
        if isinstance(self.cfg_addr, int):
            return
        program = ctypes.create_string_buffer(DROP_ALL)
        described = struct.pack("HP", len(DROP_ALL) // BPF_INSTRUCTION, ctypes.addressof(program))
        # A kernel that does not take it leaves a moment in which a connection can be lost.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

    def get_backlog(self) -> int:
        """Connections that wait to be accepted (tcpi_unacked of a listening socket on Linux)."""
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        except OSError:
            return -1
        return int.from_bytes(info[24:28], "little" if socket.htons(1) != 1 else "big")


class UnixListener(Listener):
    """A unix stream listener; it knows the file that it made."""

    FAMILY = socket.AF_UNIX

    def __init__(self, address: Address, sock: socket.socket, conf: Any) -> None:
        super().__init__(address, sock, conf)
        #: Device and inode of the file that stands for the socket; None when it is not ours.
        self.file: tuple[int, int] | None = None
        if isinstance(address, str) and not address.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                status = Path(address).stat()
                self.file = (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the socket's file, unless somebody has put another one in its place."""
        if self.file is None:
            return
        with contextlib.suppress(OSError):
            path = Path(str(self.cfg_addr))
            status = path.lstat()
            if (status.st_dev, status.st_ino) == self.file:
                path.unlink()
        self.file = None

    def __str__(self) -> str:
        name = self.cfg_addr
        if isinstance(name, int):
            name = os.fsdecode(self.sock.getsockname())
        return f"unix:{str(name).replace(chr(0), '@')}"


def describe(address: Address) -> str:
    """An address as the operator wrote it."""
    if isinstance(address, int):
        return f"fd://{address}"
    if isinstance(address, str):
        return f"unix:{address.replace(chr(0), '@')}"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_listeners(
    addresses: Iterable[Address],
    conf: Any,
    *,
    existing: Sequence[Listener] = (),
    retry: Callable[[AddressInUse], bool] = lambda _error: False,
) -> list[Listener]:
    """Open every address.

    Args:
        addresses: what to listen on.
        conf: the configuration (`backlog`, `umask`).
        existing: listeners that are open already; one of the same address is handed on.
        retry: called when an address is in use; it waits, and says whether to try again.

    Raises:
        ConfigError: an address cannot be had; one line that names it and the reason. Nothing
            that this call opened stays open.
    """
    present = {listener.cfg_addr: listener for listener in existing}
    opened: list[Listener] = []
    result: list[Listener] = []
    try:
        for address in dict.fromkeys(addresses):
            listener = present.get(address)
            if listener is None:
                listener = _open_patiently(address, conf, retry)
                opened.append(listener)
            result.append(listener)
    except BaseException:
        for listener in opened:
            listener.close()
            listener.remove()
        raise
    return result


def shares_otherwise(listeners: Iterable[Listener], conf: Any) -> list[Listener]:
    """Those that were opened with another value of `reuse_port`: the kernel takes it at the
    opening only."""
    return [
        listener
        for listener in listeners
        if isinstance(listener, TCPListener)
        and not isinstance(listener.cfg_addr, int)
        and bool(listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
        != bool(conf.reuse_port)
    ]


def _open_patiently(address: Address, conf: Any, retry: Callable[[AddressInUse], bool]) -> Listener:
    while True:
        try:
            return open_listener(address, conf)
        except AddressInUse as error:
            if not retry(error):
                raise


def open_listener(address: Address, conf: Any) -> Listener:
    """Open one address, once.

    Raises:
        AddressInUse: somebody else has it.
        ConfigError: it cannot be had.
    """
    try:
        if isinstance(address, int):
            return _adopt(address, conf)
        if isinstance(address, str):
            return _open_unix(address, conf)
        return _open_tcp(address, conf)
    except OSError as error:
        reason = error.strerror or str(error)
        kind = AddressInUse if error.errno == errno.EADDRINUSE else ConfigError
        raise kind(f"Can't listen on {describe(address)}: {reason}") from error


def _open_tcp(address: tuple[str, int], conf: Any) -> Listener:
    host, port = address[0], address[1]
    family = socket.AF_INET6 if _is_ipv6(host) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if conf.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        _listen(sock, conf)
    except BaseException:
        sock.close()
        raise
    return TCPListener(address, sock, conf)


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return False
    return True


def _open_unix(path: str, conf: Any) -> Listener:
    if not path.startswith("\0"):
        _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mode = conf.socket_mode
        before = os.umask(conf.umask if mode is None else 0o777 & ~mode)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if not path.startswith("\0") and os.geteuid() == 0:
            # Workers and the proxy are to find it under the same owner.
            os.chown(path, conf.uid, conf.gid)
        _listen(sock, conf)
        return UnixListener(path, sock, conf)
    except BaseException:
        sock.close()
        raise


def _clear(path: str) -> None:
    """Make way for a unix socket: remove a file that a dead server has left."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"Can't listen on unix:{path}: a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            # Nobody listens, or it went away by itself.
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            return
        except (TimeoutError, BlockingIOError):
            pass  # somebody's queue is full: he lives
        raise AddressInUse(f"Can't listen on unix:{path}: a living process listens there")


def _adopt(number: int, conf: Any) -> Listener:
    sock = socket.socket(fileno=number)
    try:
        if sock.type != socket.SOCK_STREAM:
            raise ConfigError(f"Can't listen on fd://{number}: it is no stream socket")
        _listen(sock, conf)
    except BaseException:
        sock.detach()  # whoever handed it to us still owns it
        raise
    return (
        UnixListener(number, sock, conf)
        if sock.family == socket.AF_UNIX
        else TCPListener(number, sock, conf)
    )


def inherit(number: int, address: Address, file: tuple[int, int] | None, conf: Any) -> Listener:
    """A listener that another process has opened at `address` and hands over as descriptor
    `number`; `file` as in `UnixListener`.

    Raises:
        ConfigError: the descriptor is no listening socket.
    """
    try:
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(
            f"Can't take over {describe(address)} as descriptor {number}: {error.strerror}"
        ) from error
    _listen(sock, conf)
    if sock.family != socket.AF_UNIX:
        return TCPListener(address, sock, conf)
    listener = UnixListener(address, sock, conf)
    listener.file = (file[0], file[1]) if file else None
    return listener


def _listen(sock: socket.socket, conf: Any) -> None:
    sock.setblocking(False)
    sock.set_inheritable(True)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(conf.backlog)
