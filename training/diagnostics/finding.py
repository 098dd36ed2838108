"""What a diagnosis is made from and what it is made of: a run's record, and findings.

The record is all that a run remembers, and knows what it has come to: the last third of the measurements; how a run
began is of no account once it has recovered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from training.config import Config
from training.diagnostics.alarm import readings_of
from training.diagnostics.history import Event, Row
from training.diagnostics.memorisation import Memorisation

Name = Literal[
    "saturation",
    "outplayed",
    "collapse",
    "missing",
    "oscillation",
    "memorised",
    "diverged",
    "unfinished",
    "unmeasured",
    "healthy",
]

LAST_PART: Final = 3  # the last third of the measurements is what a run has come to


@dataclass(frozen=True)
class Record:
    """What a run remembers.

    Attributes:
        config: of the run.
        rows: of its log.
        events: that happened.
        samples_seen: training time of its newest checkpoint.
        memorisation: of that checkpoint's averaged generator; None where it could not be measured.
    """

    config: Config
    rows: Sequence[Row]
    events: Sequence[Event]
    samples_seen: int
    memorisation: Memorisation | None

    def last(self, name: str) -> float | None:
        """The mean of a reading over the last third of the measurements; None if it was never taken."""
        measured = [readings_of(row) for row in self.rows]
        values = [row[name] for row in measured if name in row]
        part = values[-max(1, len(values) // LAST_PART) :]
        return fmean(part) if part else None


@dataclass(frozen=True)
class Finding:
    """One thing to know about a run.

    Attributes:
        name: what it is.
        words: what was seen and what it means.
        tries: what to do about it, the likeliest first, with the configuration's own keys.
        chart: the name of the chart in the report that shows it; empty if none does.
    """

    name: Name
    words: str
    tries: tuple[str, ...] = ()
    chart: str = ""
