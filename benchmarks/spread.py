"""What several measurements of the same thing say together: the median, and how far apart they lie.

Pure arithmetic, without a clock. The median is taken because noise on a shared machine is one-sided: somebody else's
work makes a round slower and never faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Several measurements of one quantity.

    Attributes:
        median: of them.
        least: of them.
        most: of them.
    """

    median: float
    least: float
    most: float


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of some values that at least a share of them does not exceed.

    Args:
        values: at least one, in any order.
        share: in [0, 1].
    """
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def spread(values: Sequence[float]) -> Spread:
    """Sum up some measurements, at least one; of an even number the median is the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return Spread(median, ordered[0], ordered[-1])
