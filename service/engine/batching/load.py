"""How busy the engine is: the runs in progress of all graphs, and jobs, after a spike of which memory is trimmed."""

import asyncio
import logging
import threading
from collections.abc import Callable

# Jobs at a time that make a load spike; fewer leave too little memory behind to be worth a pause.
SPIKE_JOBS = 16
# Idle time before trimming: a caller who comes back within it is not slowed down.
IDLE_S = 0.5

_log = logging.getLogger(__name__)


class EngineLoad:
    """Counts runs in progress, on any thread; a run that is alone may use all cores.

    Attributes:
        runs: in progress. Read without a lock, as a hint: runs that begin at the same moment slow each other down.
    """

    def __init__(self) -> None:
        self.runs = 0
        self._lock = threading.Lock()

    def run_began(self) -> None:
        """Count a run; `run_ended` must follow."""
        with self._lock:
            self.runs += 1

    def run_ended(self) -> None:
        """Count the end of a run."""
        with self._lock:
            self.runs -= 1


class IdleTrimmer:
    """Frees memory after a load spike, once the engine has been idle for `IDLE_S`. For the event loop's thread.

    Args:
        trim: frees memory; called on another thread.

    Attributes:
        jobs: in progress.
    """

    def __init__(self, trim: Callable[[], None]) -> None:
        self.jobs = 0
        self._trim = trim
        self._peak_jobs = 0  # since memory was last trimmed
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def job_began(self) -> None:
        """Count a job; `job_ended` must follow."""
        self.jobs += 1
        self._peak_jobs = max(self._peak_jobs, self.jobs)

    def job_ended(self) -> None:
        """Count the end of a job; the last one after a spike starts the timer."""
        self.jobs -= 1
        if self._timer is None and not self._stopped and self._peak_jobs >= SPIKE_JOBS and not self.jobs:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._begin)

    def stop(self) -> None:
        """Stop the timer for good; trimming in progress goes on."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._timer = None
        if self.jobs:
            return  # the last of them starts the timer again
        self._peak_jobs = 0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(self._trim)
        except Exception:  # noqa: BLE001 - whatever it is, the service goes on
            _log.exception("could not clear up behind a crowd")
