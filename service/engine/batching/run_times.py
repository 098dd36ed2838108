"""How long queued samples take: the costs that loading measured, corrected by what runs really take. Pure arithmetic.

    cost of a run, measured at load ──▶ × (what the last runs took / what they should have) ──▶ seconds of a queue

Loading measures each batch size on a machine that does nothing else, so there is an estimate before the first request.
Under load a run takes longer, since workers, other graphs and the event loop share the cores; that is one factor for
all sizes, learned from every run. A rate in samples a second alone would not do: it depends on the batch size, and a
device on which a run of one sample takes as long as one of 64 would seem 64 times as slow after a quiet hour.

It knows neither requests nor deadlines.
"""

import math

from service.engine.batching.batch_size import HAND_OVER_S, SAMPLE_S, BatchSizer

# Weight of what is known against the next run: five runs' worth of memory follow a change in a few batches.
MEMORY = 0.8
# What was learned is believed for so long after the last run, or for a few runs' time where that is longer: an estimate
# by which nothing is begun would never be corrected.
FORGET_S = 1.0
FORGET_RUNS = 4
# One run counts as at most so many times what was expected of it: a process that was suspended for half a minute is
# no reason to turn callers away for the next minute, and a machine that stays slow is believed after a few runs.
OUTLIER = 4.0


class RunTimes:
    """What runs of one graph take now.

    Args:
        sizes: of the runs; None where each request runs alone and whole.
        workers: runs that may be in progress at a time.
    """

    def __init__(self, sizes: BatchSizer | None, workers: int) -> None:
        self._sizes = sizes
        self._workers = workers
        # Without costs the unit is a sample, and its seconds are known when the first run has ended.
        self._measured = sizes is not None and sizes.run_s(sizes.largest, all_cores=False) is not None
        self._last_run = -math.inf
        self._expected = self._taken_s = 0.0
        self._slowdown: float | None = None
        self._forget()

    def ran(self, size: int, seconds: float, now: float, *, all_cores: bool = False) -> None:
        """Learn from a run.

        Args:
            size: its rows, padding included.
            seconds: that its worker was occupied by it, inputs and results included.
            now: when it ended.
            all_cores: whether it was on all cores.
        """
        if seconds <= 0:  # a coarse clock has not moved
            return
        self._last_run = now
        expected = self._cost(size, all_cores=all_cores)
        if self._slowdown is not None:
            seconds = min(seconds, OUTLIER * expected * self._slowdown)
        self._expected = MEMORY * self._expected + expected
        self._taken_s = MEMORY * self._taken_s + seconds
        self._slowdown = self._taken_s / self._expected

    def forget_the_old(self, now: float) -> None:
        """Go back to what loading measured where nothing has run for a while."""
        if self._slowdown is None:
            return
        a_run_s = self._slowdown * self._cost(self._sizes.largest if self._sizes else 1)
        if now - self._last_run > max(FORGET_S, FORGET_RUNS * a_run_s):
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
        return self._slowdown * self._cost(size) * (1 + -(-further_runs // self._workers))

    def seconds_alone(self, samples: int) -> float | None:
        """Seconds of a request that has all workers for itself; None where nothing is known."""
        if self._slowdown is None:
            return None
        if self._sizes is None:
            return self._slowdown * samples
        size = self._sizes.fitting(-(-samples // self._workers))
        return self._slowdown * self._cost(size) * -(-samples // (size * self._workers))

    def _forget(self) -> None:
        self._expected = self._taken_s = self._cost(self._sizes.largest) if self._sizes and self._measured else 0.0
        self._slowdown = 1.0 if self._measured else None

    def _cost(self, size: int, *, all_cores: bool = False) -> float:
        """Seconds that a worker should be occupied by a run; its samples where costs are not known."""
        run_s = self._sizes.run_s(size, all_cores=all_cores) if self._sizes else None
        return float(size) if run_s is None else run_s + HAND_OVER_S + SAMPLE_S * size
