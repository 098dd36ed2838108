"""How many runs are in progress in this process, over all graphs: whoever is alone may take all the cores.

It stands alone because graphs share nothing else but the machine. The number of runs is a hint, read
without a lock: a run that begins at the same moment makes both slower, and neither wrong.
"""

import asyncio
import logging
import threading
from collections.abc import Callable


class EngineLoad:
    """Counts the runs in progress.

    Attributes:
        runs: how many there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs = 0

    def enter(self) -> None:
        """Count a run that begins."""
        with self._lock:
            self.runs += 1

    def leave(self) -> None:
        """Count a run that ended."""
        with self._lock:
            self.runs -= 1


# What fewer leave is not worth a pause: a judgement.
CROWD = 16
# A caller who comes again within this time finds the service as it left it.
MOMENT_S = 0.5

_log = logging.getLogger(__name__)


class IdleTrimmer:
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

    def job_began(self) -> None:
        """Count a caller; `job_ended` must follow."""
        self._present += 1
        self._most = max(self._most, self._present)

    def job_ended(self) -> None:
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
