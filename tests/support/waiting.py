"""Waiting for a condition, always with a bound.

No test sleeps for a fixed time in the hope that something has happened by then: it names what it
waits for, and fails with that name when the bound is reached.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How often a condition is looked at. Short against everything that the tests measure.
INTERVAL = 0.01


def wait_for(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Call `condition` until it returns something true, and return that.

    `timeout` is in seconds; `what` completes the sentence "waited in vain for ...".
    Raises AssertionError when the bound is reached.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what} (last: {result!r})")
        time.sleep(INTERVAL)


def holds_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """The opposite of waiting: `condition` must stay true for the whole time.

    Raises AssertionError as soon as it does not.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"did not hold for {seconds:g} s: {what}")
        time.sleep(INTERVAL)
