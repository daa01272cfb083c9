"""Permissions count for root, too, where a test is about them."""

import contextlib
import os
from collections.abc import Iterator

#: Owns nothing on any system.
NOBODY = 65534


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """File permissions hold for this process meanwhile. Changes nothing for an ordinary user."""
    if os.geteuid() != 0:
        yield
        return
    # The capabilities that override permissions go with the user; the saved one leads back.
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
