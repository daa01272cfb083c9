"""`spew`: print every line of Python before it runs."""

import linecache
import sys
import threading
from types import FrameType
from typing import Any


def start() -> None:
    """From now on, in this thread and in every new one."""
    threading.settrace(_trace)
    sys.settrace(_trace)


def _trace(frame: FrameType, event: str, argument: Any) -> Any:
    if event == "line":
        path = frame.f_code.co_filename
        module = frame.f_globals.get("__name__", "[unknown]")
        line = linecache.getline(path, frame.f_lineno).rstrip() or frame.f_code.co_name
        print(f"{module}:{frame.f_lineno}: {line}")
    return _trace
