"""How fast failing workers are started again.

Rules:
- The first death of a worker that had served is forgiven: it is replaced at once.
- Each further failure doubles the pause, from `respawn_backoff` up to `CEILING`.
- Workers that were started before the last failure belong to the same round: when four die of one
  cause at one time, that is one failure.
- In doubt (two failures or more) one worker is started at a time; the next one when it is ready.
- A worker that was started after the last failure and has been ready for `HEALTHY` seconds ends
  the doubt.
- While no worker has ever been ready, `ROUNDS` failed rounds are the end of the server.

Pure: no clock, no processes; times are seconds on the monotonic clock.
"""

from typing import Final

#: The longest pause between two attempts, seconds: short enough that an operator who has mended
#: the cause sees it work, long enough that an idle loop costs nothing.
CEILING: Final = 30.0

#: A worker that has been ready for this long, seconds, is taken to be healthy.
HEALTHY: Final = 10.0

#: Failed rounds after which a server that has never had a ready worker gives up. With the
#: default pauses this is after about 3.5 s and, for two workers, five boots.
ROUNDS: Final = 4


class Backoff:
    """The memory of recent failures over all workers of the server."""

    def __init__(self, base: float) -> None:
        """`base`: the first pause, seconds."""
        self.base = base
        self.failures = 0
        self.next_at = 0.0
        self.last_failure = float("-inf")
        self._forgiven = False

    def failed(self, now: float, started_at: float, served: bool) -> bool:
        """Note that a worker (or mold) ended badly.

        Args:
            now: the time of its end.
            started_at: when it was started.
            served: whether it had become ready.

        Returns:
            True when this opened a new round, i.e. is worth a line in the log.
        """
        if started_at <= self.last_failure:
            return False
        self.failures += 1
        self.last_failure = now
        if self.failures == 1 and served:
            self._forgiven = True
            self.next_at = now
        else:
            self.next_at = now + self.pause()
        return True

    def pause(self) -> float:
        """The pause that the present number of failures asks for, seconds."""
        exponent = self.failures - 1 - self._forgiven
        if exponent < 0:
            return 0.0
        # The exponent is capped so that a base above zero cannot overflow.
        return float(min(CEILING, self.base * 2 ** min(exponent, 60)))

    def ready(self, now: float, started_at: float, ready_at: float) -> None:
        """Look at a worker that is ready: after `HEALTHY` seconds it ends the doubt."""
        if self.failures and started_at >= self.last_failure and now - ready_at >= HEALTHY:
            self.reset()

    def allowance(self, now: float, booting: int) -> int | None:
        """How many workers may be started now; None means as many as are wanted.

        Args:
            now: the time.
            booting: how many are booting already.
        """
        if now < self.next_at:
            return 0
        if self.in_doubt:
            return max(0, 1 - booting)
        return None

    @property
    def in_doubt(self) -> bool:
        """Failures have followed on each other: one boot at a time."""
        return self.failures - self._forgiven >= 1

    @property
    def exhausted(self) -> bool:
        """Enough failed rounds for a server that has never been ready to give up."""
        return self.failures >= ROUNDS

    def reset(self) -> None:
        """Forget everything: a healthy period, or new code."""
        self.failures = 0
        self.next_at = 0.0
        self.last_failure = float("-inf")
        self._forgiven = False
