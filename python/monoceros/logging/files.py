"""Log files: how they are opened, handed over and written.

The rules of this module:

- A log file is opened to append, and a record is one write: several processes can share a file
  and no line is torn. The kernel appends each write as a whole.
- A file is reopened under its descriptor's old number. Whoever holds the number, in whatever
  thread, goes on writing: to the old file up to one moment, to the new one from it.
- A record that cannot be written is counted, and the operator is told on standard error.
"""

import io
import logging
import os
import select
import stat
import sys
import time
from typing import IO, TextIO, cast

#: Owner of a log file: (user id, group id).
Owner = tuple[int, int]

#: Seconds to wait for room in a full pipe that somebody has made non-blocking. A blocking one
#: waits in the kernel, as everywhere.
PIPE_PATIENCE = 1.0

#: Seconds between two messages about the same log that cannot be written.
LOSS_INTERVAL = 60.0


def open_to_append(path: str) -> int:
    """Open a log file, making it when it is not there. Returns the descriptor.

    Raises OSError.
    """
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_CLOEXEC, 0o666)


def hand_over(descriptor: int, owner: Owner | None) -> OSError | None:
    """Give a log file to the user that the workers run as, so that they can reopen it.

    Only root can, and only for a regular file: a device or pipe is not ours to give away.
    Returns the error when the file system refuses (some network mounts have no owners).
    """
    if owner is None or os.geteuid() != 0:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (status.st_uid, status.st_gid) == owner:
        return None
    try:
        os.fchown(descriptor, *owner)
    except OSError as error:
        return error
    return None


def is_regular(descriptor: int) -> bool:
    """True for a file that can be rotated; there is nothing to reopen of a pipe or device."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """A text stream without any buffer of its own on a descriptor, which it then owns.

    Without a buffer nothing is written twice after a fork.
    """
    raw = io.FileIO(descriptor, "w")
    return io.TextIOWrapper(
        cast(IO[bytes], raw), encoding="utf-8", errors="backslashreplace", write_through=True
    )


def write_whole(descriptor: int, data: bytes) -> None:
    """Write everything, in one system call unless the kernel takes less.

    Raises OSError; `characters_written` of it says how much went out before.
    """
    written = 0
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except BlockingIOError as error:
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        if not poller.poll(PIPE_PATIENCE * 1000):
            raise _Partial(error, written) from error
        try:
            write_whole(descriptor, data[written:])
        except _Partial as later:
            raise _Partial(later, written + later.written) from error
    except OSError as error:
        raise _Partial(error, written) from error


class _Partial(OSError):
    """A write that failed after `written` bytes."""

    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.written = written


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes a record as one write to the descriptor of a text stream.

    A stream without a descriptor (a test's StringIO) gets one `write` and a `flush`.
    """

    #: Marks the handlers that the logger made itself and replaces at the next setup.
    _gunicorn = True

    # Lines lost since the last message about it, the time of the next one (monotonic), and
    # whether the last line was cut in its middle.
    _lost = 0
    _next_report = 0.0
    _torn = False

    def describe(self) -> str:
        """What is written to, for messages."""
        return str(getattr(self.stream, "name", "the log stream"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)
            return
        self.write_line(text)

    def write_line(self, text: str) -> None:
        """Write one line; the line end is added. Never raises for what the system refuses."""
        self.acquire()
        try:
            self._write(text + self.terminator)
        except _Partial as error:
            self._torn = self._torn or error.written > 0
            self._count_loss(error)
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._count_loss(error)
        else:
            if self._lost:
                self._report("can be written again")
        finally:
            self.release()

    def _write(self, text: str) -> None:
        stream = self.stream
        try:
            descriptor = stream.fileno()
        except (AttributeError, io.UnsupportedOperation):
            stream.write(text)
            self.flush()
            return
        stream.flush()  # what others have printed there comes first
        encoding = getattr(stream, "encoding", None) or "utf-8"
        data = text.encode(encoding, "backslashreplace")
        if self._torn:
            # The last line was cut in its middle: do not glue this one to it.
            data = self.terminator.encode(encoding) + data
        write_whole(descriptor, data)
        self._torn = False

    def _count_loss(self, error: Exception) -> None:
        self._lost += 1
        if time.monotonic() >= self._next_report:
            self._report(f"cannot be written: {error}")

    def _report(self, message: str) -> None:
        lines, self._lost = self._lost, 0
        self._next_report = time.monotonic() + LOSS_INTERVAL
        if sys.stderr is None or self.stream is sys.stderr:
            return  # there is no other place to say it
        try:
            print(
                f"monoceros: log {self.describe()} {message}; lines lost: {lines}",
                file=sys.stderr,
                flush=True,
            )
        except (OSError, ValueError):
            # Standard error is gone as well. The count goes into the next report.
            self._lost = lines


class LogFileHandler(LineHandler, logging.FileHandler):
    """A log file that several processes append to, and that can be reopened.

    Raises OSError when the file cannot be opened to append.
    """

    def __init__(self, path: str, owner: Owner | None = None) -> None:
        self.owner = owner
        #: Set when the file could not be given to its owner.
        self.ownership_error: OSError | None = None
        logging.FileHandler.__init__(
            self, path, mode="a", encoding="utf-8", errors="backslashreplace"
        )

    def describe(self) -> str:
        return self.baseFilename

    def _open(self) -> io.TextIOWrapper:
        descriptor = open_to_append(self.baseFilename)
        self.ownership_error = hand_over(descriptor, self.owner)
        return text_stream(descriptor)

    def _write(self, text: str) -> None:
        if self.stream is None:
            # Closed by a log configuration or at exit; a late line is still worth writing.
            self.stream = self._open()
        super()._write(text)

    def reopen(self) -> None:
        """Go on in a new file of the same name, under the same descriptor.

        Raises OSError and goes on in the old file when the new one cannot be opened.
        """
        self.acquire()
        try:
            if self.stream is None or not is_regular(self.stream.fileno()):
                return
            fresh = open_to_append(self.baseFilename)
            try:
                self.ownership_error = hand_over(fresh, self.owner)
                os.dup2(fresh, self.stream.fileno(), inheritable=False)
            finally:
                os.close(fresh)
            self._torn = False
        finally:
            self.release()


def reopen(handler: logging.FileHandler) -> None:
    """Reopen the file of any handler, one of an operator's own configuration too.

    The file is never truncated by it, whatever mode it was first opened in. Raises what opening
    raises, OSError as a rule, and the handler goes on in the old file then.
    """
    if isinstance(handler, LogFileHandler):
        handler.reopen()
        return
    handler.acquire()
    try:
        former = handler.stream
        if former is None:  # not written to yet (`delay`), or closed
            return
        handler.mode = handler.mode.replace("w", "a").replace("x", "a")
        fresh = handler._open()
        if _is_plain(former) and _is_plain(fresh):
            # Under the descriptor's old number, because a signal may have come while this very
            # thread is writing a record: it goes on with the stream that it had.
            former.flush()
            os.dup2(fresh.fileno(), former.fileno(), inheritable=False)
            fresh.close()
        else:
            handler.stream = fresh
            former.close()
    finally:
        handler.release()


def _is_plain(stream: object) -> bool:
    """A text file and nothing else, which keeps no more of its content than what is unwritten."""
    return type(stream) is io.TextIOWrapper and type(stream.buffer) in (
        io.BufferedWriter,
        io.FileIO,
    )
