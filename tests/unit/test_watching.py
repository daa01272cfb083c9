"""Which files are watched, and what counts as a change."""

import os
import sys
import time
import types
from pathlib import Path

import pytest

from monoceros.watching import Change, WatchedFiles, files_of_failure, module_files


def watched(*extra: str, missing: tuple[str, ...] = ()) -> WatchedFiles:
    """As after a load that has ended."""
    files = WatchedFiles(extra, missing, time.time_ns() + 3_600_000_000_000)
    assert files.start() is None
    return files


def test_nothing_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    files = watched(str(file))
    assert files.look() is None
    assert str(tmp_path) in files.folders()


def test_a_change_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    files = watched(str(file))
    file.write_text("longer")
    change = files.look()
    assert change is not None and change.path == str(file) and not change.early
    assert files.look() is None


def test_a_file_in_its_place_of_the_same_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    files = watched(str(file))
    other = tmp_path / "b.txt"
    other.write_text("b")
    status = file.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(file)
    assert files.look() is not None


def test_going_and_coming_count(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    files = watched(missing=(str(file),))
    file.write_text("there")
    assert files.look() == Change(str(file), stamp(file))
    file.unlink()
    assert files.look() == Change(str(file), None)


def stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def test_patterns_take_in_new_files(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/**/*.txt"
    files = watched(pattern)
    assert files.unmatched() == [pattern]
    file = tmp_path / "deep" / "a.txt"
    file.parent.mkdir()
    file.write_text("a")
    # What is new is known from now on, and its changes count.
    assert files.look() is None
    assert files.unmatched() == []
    file.write_text("longer")
    assert files.look() is not None


def test_what_changed_while_it_was_loaded_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("a")
    before = WatchedFiles([str(file)], (), file.stat().st_mtime_ns - 1_000_000_000)
    change = before.start()
    assert change is not None and change.early
    after = WatchedFiles([str(file)], (), time.time_ns() + 1_000_000_000)
    assert after.start() is None


def test_modules_are_watched_by_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(types.ModuleType):
        @property
        def __file__(self) -> str:  # type: ignore[override]
            raise RuntimeError("not now")

    compiled = types.ModuleType("compiled")
    compiled.__file__ = "/there/compiled.pyc"
    for name, module in (("odd", Odd("odd")), ("compiled", compiled)):
        monkeypatch.setitem(sys.modules, name, module)
    found = list(module_files())
    assert "/there/compiled.py" in found
    assert __file__ in found


def test_the_files_of_failures(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as syntax:
        compile("def (", str(tmp_path / "broken.py"), "exec")
    assert str(tmp_path / "broken.py") in files_of_failure(syntax.value)
    with pytest.raises(ModuleNotFoundError) as missing:
        __import__("no_such.module_of_ours")
    found = files_of_failure(missing.value)
    assert any(path.endswith("/no_such.py") for path in found)
    assert any(path.endswith("/no_such/__init__.py") for path in found)
    assert __file__ in found
    # Behind another exception, and round in a circle.
    outer = RuntimeError()
    outer.__cause__ = syntax.value
    syntax.value.__context__ = outer
    assert str(tmp_path / "broken.py") in files_of_failure(outer)
