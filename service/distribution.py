"""A histogram in plain numbers, for those who count too often for an instrument of the client library.

Such an instrument takes a lock and three calls for every count. Here whoever counts has a lock already, or is the only
thread; a reader may see one observation half counted, and never a number fall.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Distribution:
    """A histogram.

    Args:
        bounds: upper ones, ascending; the last bucket, which has none, is added.

    Attributes:
        counts: of each bucket for itself.
        total: of all that was observed.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def add(self, other: "Distribution") -> None:
        """Add all that another one counted."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """(bound, values up to it), as they are exposed."""
        up_to = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*(str(float(bound)) for bound in self._bounds), "+Inf"), self.counts, strict=True):
            up_to += count
            buckets.append((bound, up_to))
        return buckets
