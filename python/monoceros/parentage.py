"""Processes that end with their master.

The kernel kills a worker or a mold whose parent has ended. It forgets that order when a process
changes its user, which then has to give it again.
"""

import os
import signal

from monoceros import _core


def die_with(master: int) -> None:
    """Be killed when the process `master`, our parent, ends; leave at once if it has ended."""
    _core.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != master:
        os._exit(0)
