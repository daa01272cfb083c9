"""Whether addresses could be listened on, found out without taking them.

For --check-config, which runs beside the server that is to be replaced: that an address is in use
is no error here, and nothing that can be seen from outside is made, opened or removed.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from monoceros.errors import ConfigError
from monoceros.listeners import Address, describe


def check_addresses(addresses: Iterable[Address]) -> None:
    """Raises ConfigError, in one line, for the first address that cannot be had."""
    for address in addresses:
        try:
            if isinstance(address, int):
                _check_descriptor(address)
            elif isinstance(address, str):
                _check_path(address)
            else:
                _check_host(address)
        except OSError as error:
            raise _refused(address, error.strerror or str(error)) from error


def _check_descriptor(number: int) -> None:
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        raise _refused(number, "it is no socket")
    sock = socket.socket(fileno=number)
    try:
        if sock.type != socket.SOCK_STREAM:
            raise _refused(number, "it is no stream socket")
    finally:
        sock.detach()  # whoever handed it to us still owns it


def _check_path(path: str) -> None:
    if path.startswith("\0"):
        return  # an abstract name needs no folder
    folder = Path(path).parent
    if not folder.is_dir():
        raise _refused(path, f"there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(path, f"no permission to make a file in {str(folder)!r}")
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _refused(path, "a file that is no socket is there")


def _check_host(address: tuple[str, int]) -> None:
    """Whether the host is one of this machine's: any free port of it can be bound."""
    host = address[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # no port is free: not what was asked
                raise


def _refused(address: Address, reason: str) -> ConfigError:
    return ConfigError(f"Can't listen on {describe(address)}: {reason}")
