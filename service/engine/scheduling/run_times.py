"""How long queued samples take: costs measured at load time, times a factor learned from the runs.

    cost of a run, measured at load ──▶ × (seconds of the last runs / their costs) ──▶ seconds of a queue

Loading measures each batch size on an idle machine, so there is an estimate before the first request. Under load a run
takes longer, since workers, other graphs and the event loop share the cores; that is one factor for all sizes, learned
from every run. A rate in samples per second would not do: it depends on the batch size, and a device on which one
sample takes as long as 64 would seem 64 times as slow after a quiet hour.
"""

import math

from service.engine.scheduling.batch_size import HAND_OVER_S, NOT_KNOWN, SAMPLE_S, BatchSizer, Costs

# Weight of the past against the next run: a memory of five runs follows a change within a few batches.
MEMORY = 0.8
# The factor is forgotten so long after the last run, or after a few runs' time where that is longer: an estimate that
# keeps every request out would never be corrected.
FORGET_S = 1.0
FORGET_RUNS = 4
# One run counts as at most this many times its expectation: a process that was suspended for half a minute must not
# refuse requests for the next minute, and a machine that stays slow is believed after a few runs.
OUTLIER = 4.0


class RunTimes:
    """Estimates for one graph.

    Args:
        sizes: of the runs; None where each request runs alone and whole.
        workers: runs that may be in progress at a time.
    """

    def __init__(self, sizes: BatchSizer | None, workers: int) -> None:
        self._sizes = sizes
        self._workers = workers
        # Seconds that a worker is occupied by a run. Where unknown, its samples, whose seconds the first run tells.
        self._cost_s = _occupied_s(sizes.single_thread_s if sizes else NOT_KNOWN)
        self._all_cores_cost_s = _occupied_s(sizes.all_cores_s if sizes else NOT_KNOWN)
        largest = sizes.largest if sizes else 1
        self._largest_cost = self._cost_s.get(largest, largest)
        self._last_run = -math.inf
        self._expected = self._taken_s = 0.0
        self._slowdown: float | None = None
        self._forget()

    def ran(self, size: int, seconds: float, now: float, *, all_cores: bool = False) -> None:
        """Learn from a run.

        Args:
            size: its rows, padding included.
            seconds: that it occupied its worker, inputs and results included.
            now: when it ended.
        """
        if seconds <= 0:  # a coarse clock has not moved
            return
        self._last_run = now
        expected = (self._all_cores_cost_s if all_cores else self._cost_s).get(size, size)
        if self._slowdown is not None:
            seconds = min(seconds, OUTLIER * expected * self._slowdown)
        self._expected = MEMORY * self._expected + expected
        self._taken_s = MEMORY * self._taken_s + seconds
        self._slowdown = self._taken_s / self._expected

    def forget_outdated(self, now: float) -> None:
        """Return to the costs measured at load time where nothing has run for a while."""
        if self._slowdown is not None and now - self._last_run > max(
            FORGET_S, FORGET_RUNS * self._slowdown * self._largest_cost
        ):
            self._forget()

    def seconds(self, ahead: int, own: int) -> float | None:
        """Seconds from when a worker is free until a request is done, at worst: workers end their runs in turn.

        Args:
            ahead: samples that run before it.
            own: its samples; with neither it takes no time.

        Returns:
            An estimate; None where nothing is known.
        """
        if self._slowdown is None:
            return None
        samples = ahead + own
        if samples == 0:
            return 0.0
        if self._sizes is None:
            return self._slowdown * (ahead / self._workers + own)
        size = self._sizes.fitting(samples)
        further_runs = max(-(-samples // size) - 1, 0)
        return self._slowdown * self._cost_s.get(size, size) * (1 + -(-further_runs // self._workers))

    def seconds_alone(self, samples: int) -> float | None:
        """Seconds of a request that has all workers for itself; None where nothing is known."""
        if self._slowdown is None:
            return None
        if self._sizes is None:
            return self._slowdown * samples
        size = self._sizes.fitting(-(-samples // self._workers))
        return self._slowdown * self._cost_s.get(size, size) * -(-samples // (size * self._workers))

    def _forget(self) -> None:
        self._expected = self._taken_s = self._largest_cost if self._cost_s else 0.0
        self._slowdown = 1.0 if self._cost_s else None


def _occupied_s(run_s: Costs) -> Costs:
    return {size: seconds + HAND_OVER_S + SAMPLE_S * size for size, seconds in run_s.items()}
