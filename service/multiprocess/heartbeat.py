"""Heartbeats between a child and its parent, and the delays of restarts.

    child   beats ─────▶ parent   a child whose event loop is stopped or hung falls silent
    child ◀───── end     parent   a parent that wants the child to end closes its side; so does one that was killed

The connection is the socket that a child has as its standard input. The child's event loop itself writes a byte a
second, and no thread beside it, so that silence means a loop that does not turn.
"""

import asyncio
import socket
from typing import Final

BEAT_S: Final = 1.0
# The first restart is immediate; without delays a fault at start would cause hundreds of restarts a minute.
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
# A process that ran this long did not fail because of its start.
HEALTHY_S: Final = 60.0


class Heartbeat:
    """Sends heartbeats from now on, until `stop`.

    Args:
        loop: the event loop that is observed.
        parent: file descriptor of the socket to the parent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, parent: int) -> None:
        self._loop = loop
        self._socket = socket.socket(fileno=parent)
        self._socket.setblocking(False)
        self._timer: asyncio.TimerHandle | None = None
        self._beat()

    def stop(self) -> None:
        """Send no more; the socket stays open, as standard input."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.detach()

    def _beat(self) -> None:
        try:
            self._socket.send(b".")
        except BlockingIOError:
            pass  # the parent has many of them to read yet
        except OSError:
            return  # the parent has ended; the reader of the socket is told
        self._timer = self._loop.call_later(BEAT_S, self._beat)


class RestartBackoff:
    """How long a restart of one program waits: not at all the first time, then ever longer."""

    def __init__(self) -> None:
        self._quick = 0

    def delay_s(self, lived_s: float) -> float:
        """Compute the delay before the next start.

        Args:
            lived_s: how long the process that ended had run, in seconds.

        Returns:
            Seconds: 0, then `FIRST_DELAY_S` doubled with each process in a row that did not live `HEALTHY_S`.
        """
        if lived_s >= HEALTHY_S:
            self._quick = 0
        self._quick += 1
        if self._quick == 1:
            return 0.0
        return min(FIRST_DELAY_S * 2.0 ** (self._quick - 2), LONGEST_DELAY_S)
