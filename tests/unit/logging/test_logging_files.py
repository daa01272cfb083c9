"""Log files: whole lines from many processes, rotation, captured output, a full disk."""

import io
import logging
import logging.handlers
import os
import stat
import subprocess
import sys
import textwrap
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monoceros.logging import Logger
from monoceros.logging import files as log_files
from monoceros.logging.files import LineHandler, LogFileHandler

SETTINGS = """
    import logging, os, sys
    from types import SimpleNamespace
    from monoceros.logging import Logger
    def settings(**changes):
        return SimpleNamespace(**{**dict(loglevel="info", errorlog="-", accesslog=None,
            access_log_format="%(U)s", capture_output=False, logconfig=None, logconfig_dict={},
            logconfig_json=None, syslog=False, disable_redirect_access_to_syslog=False,
            user=os.geteuid(), group=os.getegid()), **changes})
"""


def run(script: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SETTINGS) + textwrap.dedent(script)],
        cwd=cwd,
        timeout=60,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    assert done.returncode == 0, done.stderr
    return done


class TestWholeLines:
    def test_four_processes_tear_no_line(self, tmp_path: Path) -> None:
        """Each line carries its own checksum; long ones are beyond every buffer."""
        script = """
            import zlib
            log = Logger(settings(errorlog="errors", accesslog="access"))
            log.error_log.handlers[0].setFormatter(logging.Formatter("%(message)s"))
            gate, opened = os.pipe()
            children = []
            for number in range(4):
                child = os.fork()
                if child == 0:
                    os.close(opened)
                    if number % 2:
                        log.setup(log.cfg)  # descriptors of its own
                        log.error_log.handlers[0].setFormatter(logging.Formatter("%(message)s"))
                    os.read(gate, 1)  # until the parent lets go: all at once
                    for count in range(400):
                        size = (1, 80, 5_000, 20_000, 70_000)[count % 5]
                        body = f"{number}.{count}." + chr(97 + number) * size
                        line = f"{body} {zlib.crc32(body.encode())}"
                        log.error(line)
                        log.access(SimpleNamespace(status="200", headers=[], sent=0), [],
                                   {"PATH_INFO": line}, None)
                    os._exit(0)
                children.append(child)
            os.close(opened)
            assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        """
        run(script, tmp_path)
        for name in ("errors", "access"):
            lines = (tmp_path / name).read_text().splitlines()
            seen = set()
            for line in lines:
                body, checksum = line.split(" ")
                assert zlib.crc32(body.encode()) == int(checksum)
                seen.add(tuple(body.split(".")[:2]))
            assert len(lines) == len(seen) == 1600

    def test_a_record_is_one_write(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e")))
        writes = []
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) or write(fd, data))
        text = "x" * 100_000 + "\nsecond line"
        log.error(text)
        assert len(writes) == 1
        assert writes[0].endswith(text.encode() + b"\n")

    def test_what_is_not_text_is_escaped(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e")))
        log.error("surrogate \udc80")
        assert (tmp_path / "e").read_text().endswith("surrogate \\udc80\n")

    def test_the_stream_of_the_handler_writes_through(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e")))
        handler: Any = log.error_log.handlers[0]
        handler.stream.write("from wsgi.errors\n")
        assert (tmp_path / "e").read_text() == "from wsgi.errors\n"
        assert not os.get_inheritable(handler.stream.fileno())

    def test_what_is_printed_keeps_its_place(self, tmp_path: Path) -> None:
        done = run(
            """
            log = Logger(settings(accesslog="-"))
            print("first")
            log.access_log.info("second")
            print("third")
            """,
            tmp_path,
        )
        assert done.stdout == "first\nsecond\nthird\n"

    def test_a_stream_without_descriptor(self) -> None:
        stream = io.StringIO()
        LineHandler(stream).write_line("text")
        assert stream.getvalue() == "text\n"


class TestLoss:
    def handler(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> tuple[LogFileHandler, io.StringIO]:
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        return LogFileHandler(path), stderr

    def test_a_full_disk_is_reported_and_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handler, stderr = self.handler("/dev/full", monkeypatch)
        clock = [1000.0]
        monkeypatch.setattr(log_files.time, "monotonic", lambda: clock[0])
        for _ in range(5):
            handler.write_line("lost")
        assert stderr.getvalue().splitlines() == [
            "monoceros: log /dev/full cannot be written: [Errno 28] No space left on device; "
            "lines lost: 1"
        ]
        clock[0] += log_files.LOSS_INTERVAL
        handler.write_line("lost")
        assert stderr.getvalue().splitlines()[1:] == [
            "monoceros: log /dev/full cannot be written: [Errno 28] No space left on device; "
            "lines lost: 5"
        ]
        handler.close()

    def test_a_cut_line_is_not_glued_to_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handler, stderr = self.handler(str(tmp_path / "log"), monkeypatch)
        write = os.write
        calls = [0]

        def full_after_three_bytes(descriptor: int, data: bytes) -> int:
            calls[0] += 1
            if calls[0] == 1:
                return write(descriptor, data[:3])
            if calls[0] < 4:
                raise OSError(28, "No space left on device")
            return write(descriptor, data)

        monkeypatch.setattr(os, "write", full_after_three_bytes)
        handler.write_line("first line")
        handler.write_line("second line")
        handler.write_line("third line")
        handler.write_line("fourth line")
        handler.close()
        assert (tmp_path / "log").read_text() == "fir\nthird line\nfourth line\n"
        assert "can be written again; lines lost: 1\n" in stderr.getvalue()

    def test_a_full_pipe_made_nonblocking(self) -> None:
        """Somebody who shares our standard error may have set O_NONBLOCK on it."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        received = bytearray()

        def drain() -> None:
            while chunk := os.read(read, 65536):
                received.extend(chunk)

        line = "y" * 300_000  # more than a pipe holds
        reader = threading.Thread(target=drain)
        with os.fdopen(write, "w") as stream:
            handler = LineHandler(stream)
            reader.start()
            handler.write_line(line)
        reader.join(10)
        os.close(read)
        assert bytes(received) == line.encode() + b"\n"

    def test_a_pipe_that_nobody_reads_does_not_stop_us_for_good(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_files, "PIPE_PATIENCE", 0.01)
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        read, write = os.pipe()
        os.set_blocking(write, False)
        with os.fdopen(write, "w") as stream:
            LineHandler(stream).write_line("y" * 300_000)
        os.close(read)
        assert "lines lost: 1" in stderr.getvalue()

    def test_a_late_line_after_close(self, tmp_path: Path) -> None:
        handler = LogFileHandler(str(tmp_path / "log"))
        handler.close()
        handler.write_line("late")
        handler.close()
        assert (tmp_path / "log").read_text() == "late\n"


class TestReopen:
    def test_after_a_rotation(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a")))
        descriptor = log.error_log.handlers[0].stream.fileno()  # type: ignore[attr-defined]
        log.error("one")
        log.access_log.info("one")
        for name in ("e", "a"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        log.error("two")
        log.reopen_files()
        log.error("three")
        log.access_log.info("three")
        assert [line[-5:] for line in (tmp_path / "e.1").read_text().splitlines()] == [
            "] one",
            "] two",
        ]
        assert (tmp_path / "e").read_text().endswith("] three\n")
        assert (tmp_path / "a.1").read_text() == "one\n"
        assert (tmp_path / "a").read_text() == "three\n"
        assert log.error_log.handlers[0].stream.fileno() == descriptor  # type: ignore[attr-defined]
        assert not os.get_inheritable(descriptor)

    def test_every_file_of_the_process(self, settings: Any, tmp_path: Path) -> None:
        """Those of the app, of the root logger, behind a memory handler, opened with `w`."""
        log = Logger(settings())
        handlers = {
            "root": logging.FileHandler(tmp_path / "root"),
            "shop": logging.FileHandler(tmp_path / "shop", mode="w"),
            "cart": logging.handlers.RotatingFileHandler(tmp_path / "cart"),
            "late": logging.FileHandler(tmp_path / "late", delay=True),
            "memory": logging.FileHandler(tmp_path / "memory"),
        }
        logging.root.addHandler(handlers["root"])
        logging.getLogger("shop").addHandler(handlers["shop"])
        logging.getLogger("shop.cart").addHandler(handlers["cart"])
        logging.getLogger("shop.cart").addHandler(handlers["late"])
        memory = logging.handlers.MemoryHandler(1, target=handlers["memory"])
        logging.getLogger("shop.cart").addHandler(memory)
        log.reopen_files()
        for name in ("root", "shop", "cart", "memory"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        log.reopen_files()
        logging.getLogger("shop.cart").warning("hello")
        for name in handlers:
            assert (tmp_path / name).read_text() == "hello\n", name
        # A second signal for the same rotation takes nothing away.
        log.reopen_files()
        assert (tmp_path / "shop").read_text() == "hello\n"

    def test_a_failure_is_said_and_costs_no_line(self, settings: Any, tmp_path: Path) -> None:
        folder = tmp_path / "logs"
        folder.mkdir()
        log = Logger(settings(errorlog=str(tmp_path / "e"), accesslog=str(folder / "a")))
        foreign = logging.FileHandler(folder / "shop")
        logging.getLogger("shop").addHandler(foreign)
        folder.rename(tmp_path / "moved")
        log.reopen_files()
        log.access_log.info("goes on")
        logging.getLogger("shop").warning("goes on")
        assert (tmp_path / "moved" / "a").read_text() == "goes on\n"
        assert (tmp_path / "moved" / "shop").read_text() == "goes on\n"
        errors = (tmp_path / "e").read_text()
        assert f"Log file {folder / 'a'} cannot be reopened: " in errors
        assert f"Log file {folder / 'shop'} cannot be reopened: " in errors

    def test_a_pipe_is_left_alone(self, settings: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        log = Logger(settings(errorlog=str(tmp_path / "pipe")))
        (tmp_path / "pipe").unlink()
        log.reopen_files()
        log.error("still through the pipe")
        assert os.read(reader, 1000).endswith(b"still through the pipe\n")
        assert not (tmp_path / "pipe").exists()
        os.close(reader)

    def test_writers_meanwhile_lose_nothing(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(accesslog=str(tmp_path / "a"), access_log_format="%(U)s"))
        resp = SimpleNamespace(status="200", headers=[], sent=0)
        written = [0, 0]
        over = threading.Event()

        def write(number: int) -> None:
            while not over.is_set():
                log.access(resp, [], {"PATH_INFO": f"{number}.{written[number]}"}, None)
                written[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            for count in range(50):
                (tmp_path / "a").rename(tmp_path / f"a.{count}")
                log.reopen_files()
        finally:
            over.set()
            for thread in threads:
                thread.join(10)
        lines = [line for path in tmp_path.glob("a*") for line in path.read_text().splitlines()]
        assert len(lines) == len(set(lines)) == sum(written) > 0

    def test_close_on_exec(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings())
        handler = logging.FileHandler(tmp_path / "shop")
        logging.getLogger("shop").addHandler(handler)
        os.set_inheritable(handler.stream.fileno(), True)
        log.close_on_exec()
        assert not os.get_inheritable(handler.stream.fileno())


class TestOwner:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_files_belong_to_the_workers_user(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(
            settings(
                errorlog=str(tmp_path / "e"),
                accesslog="/dev/null",
                capture_output=False,
                user=65534,
                group=65533,
            )
        )
        owner = (tmp_path / "e").stat()
        assert (owner.st_uid, owner.st_gid) == (65534, 65533)
        (tmp_path / "e").rename(tmp_path / "e.1")
        log.reopen_files()
        owner = (tmp_path / "e").stat()
        assert (owner.st_uid, owner.st_gid) == (65534, 65533)
        device = Path("/dev/null").stat()
        assert stat.S_ISCHR(device.st_mode) and device.st_uid == 0

    def test_a_file_system_without_owners_is_said(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "fchown", refuse)
        Logger(settings(errorlog=str(tmp_path / "e"), user=12345, group=12345))
        assert "cannot be given to the workers' user (12345, 12345)" in (tmp_path / "e").read_text()


class TestCapture:
    def test_output_of_python_and_of_children(self, tmp_path: Path) -> None:
        done = run(
            """
            print("before")
            log = Logger(settings(errorlog="e", capture_output=True))
            print("printed")
            print("complained", file=sys.stderr)
            os.system("echo child; echo angry child >&2")
            log.error("logged")
            assert os.path.samestat(os.fstat(log.logfile.fileno()), os.stat("e"))
            """,
            tmp_path,
        )
        assert done.stdout == "before\n"
        assert done.stderr == ""
        lines = (tmp_path / "e").read_text().splitlines()
        assert lines[:-1] == ["printed", "complained", "child", "angry child"]
        assert lines[-1].endswith("[ERROR] logged")

    def test_rotation_and_switching_off(self, tmp_path: Path) -> None:
        done = run(
            """
            log = Logger(settings(errorlog="e", capture_output=True))
            print("one", flush=True)
            os.rename("e", "e.1")
            log.reopen_files()
            print("two", flush=True)
            log.setup(settings(errorlog="f", capture_output=True))
            print("three", flush=True)
            log.setup(settings(errorlog="f"))
            assert log.logfile is None
            print("four", flush=True)
            print("five", file=sys.stderr, flush=True)
            """,
            tmp_path,
        )
        assert (tmp_path / "e.1").read_text() == "one\n"
        assert (tmp_path / "e").read_text() == "two\n"
        assert (tmp_path / "f").read_text() == "three\n"
        assert done.stdout == "four\n"
        assert done.stderr == "five\n"

    def test_no_effect_on_the_console(self, tmp_path: Path) -> None:
        done = run(
            """
            log = Logger(settings(capture_output=True))
            print("printed")
            log.reopen_files()
            """,
            tmp_path,
        )
        assert done.stdout == "printed\n"

    def test_a_failed_reload_captures_nothing(self, tmp_path: Path) -> None:
        done = run(
            """
            from monoceros.errors import ConfigError
            log = Logger(settings())
            count = len(os.listdir("/proc/self/fd"))
            try:
                log.setup(settings(errorlog="e", capture_output=True, accesslog="none/a"))
            except ConfigError as error:
                print(error)
            assert len(os.listdir("/proc/self/fd")) == count
            """,
            tmp_path,
        )
        assert done.stdout.startswith("accesslog: 'none/a' isn't writable: ")
        assert (tmp_path / "e").read_text() == ""
