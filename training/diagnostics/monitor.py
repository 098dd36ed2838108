"""Measures a run in its main process: one row a measurement, checked by the collapse alarm.

All state follows from the rows: after a resume or a rollback, replaying the kept rows restores the alarm.
"""

from collections.abc import Iterable

import torch

from training.config import Config
from training.data.image_data import Dataset
from training.diagnostics import alarm
from training.diagnostics.alarm import PREFIX, Alarm
from training.diagnostics.measures.probe import Probe, can_probe
from training.networks.base import Task
from training.state.history import Event, Row
from training.state.players import Players, Side


class Monitor:
    """The diagnostics of one run."""

    def __init__(self, config: Config, data: Dataset, task: Task, device: torch.device) -> None:
        measuring = config.diagnostics.every_samples > 0 and can_probe(data)
        self._probe = Probe(config, data, task, device) if measuring else None
        self._total_samples = config.trainer.total_samples
        self._alarm = Alarm()

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
