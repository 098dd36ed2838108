"""Signs of life between a service's processes, over the socket that a child has as its standard input.

    child   beats ─────▶ parent   a child whose event loop turns no more, stopped or hung, falls silent
    child ◀───── end     parent   a parent that wants the end closes its side; one that was killed did so, too

A child writes a byte a second from its event loop, so that it is its loop that is heard and not a thread beside it. The
parent decides what silence means. Restarts are slowed down here as well: pure arithmetic, told the time by its caller.
"""

import asyncio
import socket
from typing import Final

BEAT_S: Final = 1.0
# Two that follow at once are as good as one; a fault that comes back at once would else start hundreds a minute.
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
# After so long what ended a process was no fault of its start.
HEALTHY_S: Final = 60.0


class Beats:
    """What a child does to be heard; its loop begins and `stop` ends it.

    Args:
        loop: whose turning is told.
        parent: the socket to the parent, by its number.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, parent: int) -> None:
        self._loop = loop
        self._socket = socket.socket(fileno=parent)
        self._socket.setblocking(False)
        self._timer: asyncio.TimerHandle | None = None
        self._beat()

    def stop(self) -> None:
        """Beat no more; the socket stays open, as standard input."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.detach()

    def _beat(self) -> None:
        try:
            self._socket.send(b".")
        except BlockingIOError:
            pass  # the parent has many of them still to read
        except OSError:
            return  # it has gone, which whoever watches the socket is told
        self._timer = self._loop.call_later(BEAT_S, self._beat)


class Restarts:
    """How long the replacement of one program's process waits: at once the first time, then ever longer."""

    def __init__(self) -> None:
        self._quick = 0

    def delay_s(self, lived_s: float) -> float:
        """Answer the wait before the next start.

        Args:
            lived_s: how long the process that ended had run.

        Returns:
            Seconds: 0, then `FIRST_DELAY_S` doubled with each process in a row that did not live `HEALTHY_S`.
        """
        if lived_s >= HEALTHY_S:
            self._quick = 0
        self._quick += 1
        if self._quick == 1:
            return 0.0
        return min(FIRST_DELAY_S * 2.0 ** (self._quick - 2), LONGEST_DELAY_S)
