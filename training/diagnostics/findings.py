"""A run's record, findings made from it, and their output as text and JSON.

A finding rests on the last third of the measurements, so that a run which has recovered is judged by its end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from training.config import Config
from training.diagnostics.advice import Advice, Name
from training.diagnostics.alarm import readings_of
from training.diagnostics.measures.inspection import Inspection
from training.state.best import Measured, lowest, measurements
from training.state.history import Event, Row

BAD: Final = frozenset({"diverged", "stalled", "saturation", "collapse", "memorised", "unlike"})
END_READINGS: Final = ("diversity", "modes", "mode_reverse_kl", "paired_accuracy", "unrest")
LAST_PART: Final = 3  # findings rest on the last third of the measurements


@dataclass(frozen=True)
class RunRecord:
    """A run's record.

    Attributes:
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

    @property
    def measured(self) -> list[Measured]:
        """Measurements of its samples by which checkpoints are compared, in order."""
        return measurements(self.rows)

    @property
    def best(self) -> Measured | None:
        """The best of them; None without any."""
        return lowest(self.measured)

    def last(self, name: str) -> float | None:
        """Mean of a reading over the last third of the measurements; None without any."""
        values = self.readings(name)
        return fmean(values[-max(1, len(values) // LAST_PART) :]) if values else None

    def readings(self, name: str) -> list[float]:
        """All values of a reading, in order."""
        return [measured[name] for row in self.rows if name in (measured := readings_of(row))]

    def metrics(self) -> dict[str, float]:
        """Figures of a run's end by name: of its last measurements, and of the comparison with the data."""
        found: dict[str, float | None] = {name: self.last(name) for name in END_READINGS}
        if self.inspection is not None:
            found["told_apart"] = self.inspection.two_sample.auc
            found["near"] = self.inspection.memorisation.near
            found["copies"] = self.inspection.memorisation.copies
        return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}

    def logged(self, name: str) -> list[float]:
        """All values of a mean of the log, such as `critic/r1`, in order."""
        return [row[name] for row in self.rows if name in row]


@dataclass(frozen=True)
class Finding:
    """One finding about a run.

    Attributes:
        words: what was seen and what it means.
        advice: what to do about it, the likeliest first.
        chart: name of the chart that shows it; may be empty.
    """

    name: Name
    words: str
    advice: tuple[Advice, ...] = ()
    chart: str = ""

    @property
    def tries(self) -> tuple[str, ...]:
        """The advice in words, with the configuration's own keys."""
        return tuple(map(str, self.advice))


def mood_of(name: str) -> str:
    """How a finding is coloured.

    Returns:
        `bad`, `good`, or `doubtful` for what lies between.
    """
    return "bad" if name in BAD else "good" if name == "healthy" else "doubtful"


def as_text(report: Path, findings: Sequence[Finding]) -> list[str]:
    """Write findings for people.

    Returns:
        Lines: each finding, what to try, and where to look.
    """
    lines = []
    for finding in findings:
        lines.append(f"{finding.name}: {finding.words}")
        lines += [f"    try  {attempt}" for attempt in finding.tries]
        if finding.chart:
            lines.append(f"    see  {report}#{finding.chart}")
    if not any(finding.chart for finding in findings):
        lines.append(f"see {report}")
    return lines


def document(report: Path | str, findings: Sequence[Finding]) -> dict[str, object]:
    """The findings as `--json` prints them: an object with `report` and `findings`."""
    listed = [
        {"name": finding.name, "words": finding.words, "tries": list(finding.tries), "chart": finding.chart}
        for finding in findings
    ]
    return {"report": str(report), "findings": listed}
