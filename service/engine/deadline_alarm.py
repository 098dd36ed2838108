"""One timer for all the deadlines of a queue: it rings at the earliest, and is set anew only for one that is earlier.

    by(t₁) by(t₂) by(t₃) … ──▶ one timer at the earliest t ──▶ ring() ends who is late, says who is next ──▶ timer …

Almost every request is answered long before its deadline, and the next one's deadline is later still, so that a timer
for each would be made and cancelled for nothing. It knows no requests: `ring` does.
"""

import asyncio
import time
from collections.abc import Callable

# Who rings looks through all that wait, each perhaps with a deadline of its own: so seldom that it costs little, and
# that nobody who waited for seconds notices.
LEAST_WAIT_S = 5e-3


class DeadlineAlarm:
    """Rings when a deadline passes, or up to `LEAST_WAIT_S` later.

    Args:
        loop: that rings.
        ring: is told that a deadline has passed; answers the earliest of those to come, None where there is none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], float | None]) -> None:
        self._loop = loop
        self._ring: Callable[[], float | None] | None = ring
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def by(self, deadline: float | None) -> None:
        """Ring for this time too, on `time.monotonic`; None is never."""
        if deadline is None or self._ring is None or (self._at is not None and self._at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = deadline
        self._timer = self._loop.call_later(max(LEAST_WAIT_S, deadline - time.monotonic()), self._rung)

    def stop(self) -> None:
        """Ring no more, and let go of who would have been told: of two that hold each other neither is freed."""
        if self._timer is not None:
            self._timer.cancel()
        self._at = self._timer = self._ring = None

    def _rung(self) -> None:
        self._at = self._timer = None
        if self._ring is not None:
            self.by(self._ring())
