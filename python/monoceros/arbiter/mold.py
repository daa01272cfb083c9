"""The mold, seen from the arbiter: start it, ask it for workers, hear from it, end it.

The two talk over a pair of SOCK_SEQPACKET sockets, one JSON object per message; `protocol` in
`mold_process` describes them. Rules:
- The arbiter never waits for a mold: it sends without blocking and reads what is there.
- A worker that was asked for is lost only when the channel has been read to its end: as long as
  somebody holds the other end, its pid may still come.
"""

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from monoceros import _core
from monoceros.arbiter import mold_process, states
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.signals import blocked
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import Departure, MoldEvent, MoldState

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: How long a mold may take to end after it was told to, seconds, before it is killed. It has
#: nothing to finish.
END_GRACE: Final = 1.0

#: How long a mold may take to fork a worker, seconds; pre_fork runs in it.
FORK_PATIENCE: Final = 30.0

#: How long after a mold's end its channel is listened to, seconds, when an app's own child holds
#: the other end open.
CHANNEL_PATIENCE: Final = 2.0


@dataclass(eq=False)
class Mold:
    """One mold process. Times are on the monotonic clock, seconds."""

    pid: int
    generation: Generation
    channel: socket.socket
    stacks: StackFile
    started_at: float
    state: MoldState = MoldState.IMPORTING
    ready_at: float | None = None
    ended_at: float | None = None
    departure: Departure | None = None
    deadline: float | None = None
    last_signal: int | None = None
    boot_warned: bool = False
    hung_up: bool = False
    #: When each worker that was asked for and has no pid yet was asked for, by age.
    asked: dict[int, float] = field(default_factory=dict)

    def move(self, event: MoldEvent) -> None:
        """Take `event`. Raises IllegalMove when the table has no such move."""
        self.state = states.step(states.MOLD_MOVES, self.state, event)

    @classmethod
    def start(cls, server: "Arbiter", generation: Generation) -> "Mold":
        """Fork a mold that imports the app of `generation`.

        Raises:
            OSError: no process or descriptor to be had.
        """
        # The mold's workers become our children when the process between has ended.
        _core.become_subreaper()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stacks = StackFile.create()
        started_at = time.monotonic()
        try:
            with blocked():
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    mold_process.live_as_mold(server, generation, theirs, stacks)
        except BaseException:
            ours.close()
            stacks.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(pid, generation, ours, stacks, started_at)

    def ask(self, slot: int, age: int, fleet: int, stacks: StackFile, now: float) -> bool:
        """Ask for a worker; False when the mold does not take the message now."""
        message = json.dumps({"slot": slot, "age": age, "fleet": fleet}).encode()
        try:
            socket.send_fds(self.channel, [message], [stacks.descriptor])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        self.asked[age] = now
        return True

    def receive(self) -> list[dict[str, Any]]:
        """What the mold and its forks have said since the last call; sets `hung_up` at the
        channel's end."""
        messages = []
        while not self.hung_up:
            try:
                data = self.channel.recv(mold_process.MESSAGE_LIMIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.hung_up = True
                break
            messages.append(json.loads(data))
        return messages

    def dismiss(self, departure: Departure, now: float) -> None:
        """Tell the mold to end."""
        if self.state not in (MoldState.IMPORTING, MoldState.READY):
            return
        self.move(MoldEvent.DISMISSED)
        self.departure = departure
        self.deadline = now + END_GRACE
        self.send(signal.SIGTERM)

    def kill(self, departure: Departure) -> None:
        """End the mold: KILL."""
        self.departure = self.departure or departure
        self.deadline = None
        self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """Send a signal that is to end the mold."""
        self.last_signal = number
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def tell(self, number: int) -> None:
        """Send a signal that does not end the mold (USR1)."""
        if self.state is not MoldState.GONE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """The mold has been reaped and its channel read to the end."""
        self.channel.close()
        self.stacks.close()
