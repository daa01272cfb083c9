"""Uploads that are far larger than memory may become arrive intact."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.client import Connection, format_request
from support.serving import Serve

MIB = 1024 * 1024
GIB = 1024 * MIB

#: Of the worker, at its largest.
MEMORY_BOUND = 64 * MIB

#: What must be free in the folder of spool files beside the upload.
RESERVE = GIB

_NOISE = os.urandom(MIB - 8)


def blocks(size: int) -> Iterator[bytes]:
    """Blocks of a MiB, each another: one that is lost, doubled or moved shows in the checksum."""
    for number in range(size // MIB):
        yield number.to_bytes(8, "big") + _NOISE


def peak(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM line for process {pid}")


def upload(connection: Connection, size: int, coded: bool) -> str:
    """Send an upload of that size; its checksum."""
    framing = ("Transfer-Encoding", "chunked") if coded else ("Content-Length", str(size))
    connection.send(format_request("POST", "/digest", [framing]))
    checksum = hashlib.sha256()
    for block in blocks(size):
        checksum.update(block)
        if coded:
            connection.send(b"%x\r\n" % len(block))
        connection.send(block)
        if coded:
            connection.send(b"\r\n")
    if coded:
        connection.send(b"0\r\n\r\n")
    return checksum.hexdigest()


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(256 * MIB, id="256MiB"),
        pytest.param(2 * GIB, id="2GiB", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
    ],
)
@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_a_large_upload(
    serve: Serve, tmp_path: Path, figures: Callable[[str], None], size: int, coded: bool
) -> None:
    """Whole, by its checksum; the worker stays small; nothing is left on the disk."""
    folder = tmp_path / "spool"
    folder.mkdir()
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        pytest.skip(f"only {free // MIB} MiB are free in {folder}")
    server = serve("probes:app", "--spool-dir", str(folder), "--timeout", "120")
    [pid] = server.workers()
    started = time.monotonic()
    with server.assert_no_descriptor_growth(), server.connect(120.0) as connection:
        checksum = upload(connection, size, coded)
        sent = time.monotonic() - started
        assert connection.read_response().text == f"{size} {checksum}"
        connection.close()
    took = time.monotonic() - started
    figures(
        f"upload of {size // MIB} MiB, {'chunked' if coded else 'by length'}: "
        f"sent in {sent:.1f} s, answered after {took:.1f} s, "
        f"worker at most {peak(pid) / MIB:.1f} MiB"
    )
    assert peak(pid) < MEMORY_BOUND
    assert list(folder.iterdir()) == []
