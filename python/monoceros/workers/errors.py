"""`wsgi.errors`: a stream into the error log."""

import logging
from collections.abc import Iterable
from typing import Any


class ErrorStream:
    """What PEP 3333 asks of `wsgi.errors`: write, writelines, flush. One for a process.

    Text goes to the streams of the error log's handlers without a prefix, as apps expect of a
    stream, each call whole; where no handler has a stream (syslog, queues) each line becomes a
    record at level ERROR.
    """

    encoding = "utf-8"

    def __init__(self, log: Any) -> None:
        self._logger: logging.Logger = log.error_log

    def write(self, text: str) -> int:
        """Write text; returns its length in characters."""
        wrote = False
        logger: logging.Logger | None = self._logger
        while logger is not None:
            for handler in logger.handlers:
                stream = getattr(handler, "stream", None)
                if stream is None or not hasattr(stream, "write"):
                    continue
                handler.acquire()
                try:
                    stream.write(text)
                    stream.flush()
                finally:
                    handler.release()
                wrote = True
            logger = logger.parent if logger.propagate else None
        if not wrote and text.strip():
            for line in text.splitlines():
                self._logger.error("%s", line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces of text."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Every write has been flushed already."""
