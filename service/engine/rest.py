"""Clearing up behind a crowd: when many callers have come and gone, what they left is given back.

    a crowd ─▶ nobody is there ──(a moment)──▶ still nobody: clear up, on a thread of its own

A batch that was never run before, hundreds of connections at a time, objects that refer to each other: each takes
memory that nobody frees as long as there is work, and that an idle service need not hold. Single callers leave
nothing worth the pause, however many come one after the other. What is to be cleared away is its owner's business.
"""

import asyncio
import logging
from collections.abc import Callable

# What fewer leave is not worth a pause: a judgement.
CROWD = 16
# A caller who comes again within this time finds the service as it left it.
MOMENT_S = 0.5

_log = logging.getLogger(__name__)


class Rest:
    """Counts the callers of an engine, and says when to clear up; on the event loop's thread.

    Args:
        clear_up: called on another thread, while nobody was there a moment ago.
    """

    def __init__(self, clear_up: Callable[[], None]) -> None:
        self._clear_up = clear_up
        self._present = 0
        self._most = 0  # at a time since it was last cleared up
        self._due: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def somebody_came(self) -> None:
        """Count a caller; `somebody_left` must follow."""
        self._present += 1
        self._most = max(self._most, self._present)

    def somebody_left(self) -> None:
        """Begin to wait if nobody is left of a crowd."""
        self._present -= 1
        if self._due is None and not self._stopped and self._most >= CROWD and not self._present:
            self._due = asyncio.get_running_loop().call_later(MOMENT_S, self._look)

    def stop(self) -> None:
        """Wait for nothing any more; what is being cleared up is."""
        self._stopped = True
        if self._due is not None:
            self._due.cancel()

    def _look(self) -> None:
        self._due = None
        if self._present:
            return  # whoever leaves last begins to wait again
        self._most = 0
        self._task = asyncio.get_running_loop().create_task(self._clear())

    async def _clear(self) -> None:
        try:
            await asyncio.to_thread(self._clear_up)
        except Exception:  # noqa: BLE001 - whatever it is, the service goes on
            _log.exception("could not clear up behind a crowd")
