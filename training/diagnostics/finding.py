"""What a diagnosis is made from and what it is made of: a run's record, and findings.

The record is all that a run remembers, and knows what it has come to: the last third of the measurements; how a run
began is of no account once it has recovered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from training.config import Config
from training.diagnostics.advice import Advice, Name
from training.diagnostics.alarm import readings_of
from training.diagnostics.history import Event, Row
from training.diagnostics.inspection import Inspection

LAST_PART: Final = 3  # the last third of the measurements is what a run has come to


@dataclass(frozen=True)
class Record:
    """What a run remembers.

    Attributes:
        config: of the run.
        rows: of its log.
        events: that happened.
        samples_seen: training time of its newest checkpoint.
        inspection: of the networks of that checkpoint; None where they could not be compared with the data.
    """

    config: Config
    rows: Sequence[Row]
    events: Sequence[Event]
    samples_seen: int
    inspection: Inspection | None

    @property
    def steps(self) -> int:
        """Steps of the generator so far."""
        return self.samples_seen // self.config.trainer.batch_size

    def last(self, name: str) -> float | None:
        """The mean of a reading over the last third of the measurements; None if it was never taken."""
        values = self.readings(name)
        return fmean(values[-max(1, len(values) // LAST_PART) :]) if values else None

    def readings(self, name: str) -> list[float]:
        """All values of a reading, in order."""
        return [measured[name] for row in self.rows if name in (measured := readings_of(row))]

    def logged(self, name: str) -> list[float]:
        """All values of a mean of the log, such as `critic/r1`, in order."""
        return [row[name] for row in self.rows if name in row]


@dataclass(frozen=True)
class Finding:
    """One thing to know about a run.

    Attributes:
        name: what it is.
        words: what was seen and what it means.
        advice: what to do about it, the likeliest first.
        chart: the name of the chart in the report that shows it; empty if none does.
    """

    name: Name
    words: str
    advice: tuple[Advice, ...] = ()
    chart: str = ""

    @property
    def tries(self) -> tuple[str, ...]:
        """The advice in words, with the configuration's own keys."""
        return tuple(map(str, self.advice))
