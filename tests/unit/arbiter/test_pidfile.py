"""Pidfiles: whole or absent, never stolen from the living."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from monoceros.errors import ConfigError
from monoceros.pidfile import Pidfile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.pid"


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    return process.pid


def test_it_is_created_and_removed(path: Path) -> None:
    pidfile = Pidfile(str(path))
    pidfile.create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path], "no temporary file is left"
    pidfile.remove()
    assert not path.exists()


def test_a_living_holder_is_respected(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(ConfigError, match=f"Already running on PID {os.getppid()} .*is stale"):
        Pidfile(str(path)).create(os.getpid())
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("content", ["", "garbage", "-5", "0", "99999999999999999999999"])
def test_garbage_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)
    Pidfile(str(path)).create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_dead_holder_is_replaced(path: Path) -> None:
    path.write_text(f"{dead_pid()}\n")
    Pidfile(str(path)).create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"


def test_our_own_pid_is_replaced(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    Pidfile(str(path)).create(os.getpid())
    assert path.exists()


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Pidfile(str(tmp_path / "no" / "server.pid")).create(1)
    assert "\n" not in str(caught.value)
    assert "server.pid" in str(caught.value)


def test_a_file_that_is_no_longer_ours_stays(path: Path) -> None:
    pidfile = Pidfile(str(path))
    pidfile.create(os.getpid())
    path.write_text("1\n")
    pidfile.remove()
    assert path.read_text() == "1\n"


def test_removing_twice_or_without_a_file_is_harmless(path: Path) -> None:
    pidfile = Pidfile(str(path))
    pidfile.remove()
    pidfile.create(os.getpid())
    path.unlink()
    pidfile.remove()
    pidfile.remove()
