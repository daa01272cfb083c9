"""Notes that apps and hooks leave for a test, one JSON object a line.

Each note is one write to a file opened for appending, so that processes do not tear each other's.
"""

import json
import os
import time


def note(event: str, **facts: object) -> None:
    """Append an event with the pid and the time (monotonic seconds)."""
    line = json.dumps({"event": event, "pid": os.getpid(), "at": time.monotonic(), **facts}) + "\n"
    descriptor = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
