"""Which checkpoint of a run is the best: the lowest first figure of the rows that measured its samples.

    {"samples": 32000, "quality/frechet_distance": 31.4, "quality/precision": …}   the first `quality/…` of a row counts

What is best follows from the log alone. So a run that is resumed, or goes back after a divergence, forgets what was
measured in the part that it forgets.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from training.state.history import QUALITY, Row


@dataclass(frozen=True)
class Measured:
    """One measurement of a run's samples.

    Attributes:
        samples: training time.
        measure: name of the figure, such as `frechet_distance`.
        value: the figure; lower is better.
    """

    samples: int
    measure: str
    value: float

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.measure} {self.value:.4g}"

    def plain(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def measurements(rows: Iterable[Row]) -> list[Measured]:
    """Read the measurements of a log, in order.

    Returns:
        Those that are finite, by the measure of the last one.
    """
    found = []
    for row in rows:
        name = next((name for name in row if name.startswith(QUALITY)), None)
        if name is not None and math.isfinite(row[name]):
            found.append(Measured(int(row["samples"]), name.removeprefix(QUALITY), row[name]))
    return [each for each in found if each.measure == found[-1].measure]


def lowest(measured: Iterable[Measured], until: float = math.inf) -> Measured | None:
    """Find the best measurement up to a training time; of equal ones the first."""
    return min((each for each in measured if each.samples <= until), key=lambda each: each.value, default=None)
