"""Measures a run in its main process: one row a measurement, checked by the collapse alarm.

All state follows from the rows: after a resume or a rollback, replaying the kept rows restores the alarm.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

import torch

from training.config import Config
from training.data.image_data import Dataset
from training.diagnostics import alarm
from training.diagnostics.alarm import PREFIX, Alarm
from training.diagnostics.measures.probe import Probe, can_probe
from training.networks.base import Task
from training.state.history import Event, Row
from training.state.players import Players, Side

MOST_SHARE: Final = 0.02  # of a run's time


class Budget:
    """Bounds the share of a run's time that measurements take.

    The first one is not counted: it allocates memory and chooses kernels.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began_s = clock()
        self._costs_s: list[float] = []

    def allows(self) -> bool:
        """Whether one more measurement, as long as the last one, stays within the share."""
        counted = self._costs_s[1:]
        return sum(counted) + sum(counted[-1:]) <= MOST_SHARE * (self._clock() - self._began_s)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Time a measurement."""
        began_s = self._clock()
        yield
        self._costs_s.append(self._clock() - began_s)


class Monitor:
    """The diagnostics of one run.

    On a GPU, where a step takes milliseconds, due measurements are left out while they would take more than 2 % of the
    time. Rows must not depend on the clock where they are promised to be the same each time, on a CPU and in a
    `deterministic` run; there all are made.
    """

    def __init__(self, config: Config, data: Dataset, task: Task, device: torch.device) -> None:
        measuring = config.diagnostics.every_samples > 0 and can_probe(data)
        self._probe = Probe(config, data, task, device) if measuring else None
        self._total_samples = config.trainer.total_samples
        self._alarm = Alarm()
        bounded = device.type == "cuda" and not config.trainer.deterministic
        self._budget = Budget() if bounded else None

    def has_time(self) -> bool:
        """Whether a measurement that is due is to be made."""
        return self._budget is None or self._budget.allows()

    def replay(self, rows: Iterable[Row]) -> None:
        """Restore the alarm from rows.

        Args:
            rows: all rows of the run so far.
        """
        self._alarm = Alarm()
        for row in rows:
            self.watch(row)

    def measure(self, trained: Players, averaged: Side) -> Row:
        """Measure the networks.

        Returns:
            Readings under the names of the log; empty for data that cannot be probed.
        """
        with nullcontext() if self._budget is None else self._budget.measuring():
            found = {} if self._probe is None else self._probe.measure(trained, averaged)
        return {f"{PREFIX}{name}": figure for name, figure in found.items()}

    def watch(self, row: Row) -> Event | None:
        """Update the alarm with one more row.

        Args:
            row: of the log, with its `samples`.

        Returns:
            The event if the alarm went on or off.
        """
        self._alarm, change = alarm.watch(self._alarm, row, self._total_samples)
        if change is None:
            return None
        if change.raised:
            return Event(change.samples, "collapse", f"the generator has collapsed: {change.reason}")
        return Event(change.samples, "recovery", f"the collapse is over: {change.reason}")
