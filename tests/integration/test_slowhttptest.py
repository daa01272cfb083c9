"""The attacks of slowhttptest: half heads, half bodies, clients that do not read, ranges.

The short ones are for every run; those marked `soak` have a thousand connections for half a
minute. Ordinary requests meanwhile show what an attack costs others.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.load import Load
from support.server import Server
from support.serving import Serve
from support.tools import need_tool

MIB = 1024 * 1024

#: Ordinary requests during an attack, in seconds; on two cores that all of it shares.
P99_BOUND = 0.25

#: What both workers may grow by.
MEMORY_BOUND = 64 * MIB

LARGE = 2_000_000

ATTACKS = {
    "slowloris": ["-H", "-i", "1", "-x", "24"],
    "slow-post": ["-B", "-i", "1", "-s", "100000", "-x", "10", "-t", "POST"],
    "slow-read": ["-X", "-w", "64", "-y", "512", "-n", "1", "-z", "32", "-k", "3"],
    "range": ["-R", "-t", "HEAD", "-a", "10", "-b", "3000"],
}


@dataclass
class Size:
    connections: int
    seconds: int


SHORT = Size(200, 8)
LONG = Size(1000, 30)


def attack(server: Server, folder: Path, mode: str, size: Size) -> str:
    """Runs one attack to its end; what it has said last."""
    target = f"/large?bytes={LARGE}" if mode == "slow-read" else "/"
    result = subprocess.run(
        [
            need_tool("slowhttptest"),
            *ATTACKS[mode],
            "-c",
            str(size.connections),
            "-r",
            str(size.connections // 2),
            "-l",
            str(size.seconds),
            "-p",
            "3",
            "-u",
            server.url(target),
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=size.seconds + 60,
        check=False,
    )
    return re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", result.stdout + result.stderr)


@pytest.mark.alone
@pytest.mark.parametrize("mode", ATTACKS)
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(240)]),
    ],
)
def test_others_are_served_during_an_attack(
    serve: Serve, tmp_path: Path, figures: Callable[[str], None], mode: str, size: Size
) -> None:
    server = serve("probes:app", workers=2)
    # An attack is no error of ours; that invalid requests were refused may be told.
    server.allow_log("Invalid request|messages of this kind were left out")
    server.get(f"/large?bytes={LARGE}")
    before = server.memory()
    with Load(server.address, clients=2, keep_alive=False, pause=0.01) as load:
        said = attack(server, tmp_path, mode, size)
        grown = server.memory() - before
    load.assert_no_loss(at_least=100)
    p99 = load.latency(0.99)
    figures(
        f"{mode}, {size.connections} connections for {size.seconds} s: {load.answered} ordinary "
        f"requests, p99 {p99 * 1000:.1f} ms, workers grown by {grown / MIB:.1f} MiB"
    )
    assert "service available:   YES" in said, said[-3000:]
    assert "service available:   NO" not in said, said[-3000:]
    assert p99 < P99_BOUND
    assert grown < MEMORY_BOUND
