"""Intervals of figures, from their spread over random parts of both sets.

A figure that compares two sets is computed again for parts of them, drawn at random without replacement, and the
deviations from their mean are scaled from the part's size to the whole's. The usual bootstrap with replacement is
unsuitable: an image drawn twice is its own nearest neighbour, so neighbourhoods and the kernel distance would be wrong
in every resample.

With a share r of each set in a part, a figure's variance over parts is (1 - r) / r times its variance over sets, which
gives the scale. The interval does not include how the figure depends on the sets' size. Near zero the distances'
deviations shrink faster than this scale, so the interval is wider than necessary.

References:
    Politis and Romano, Large Sample Confidence Regions Based on Subsamples under Minimal Assumptions (1994).
    Shao and Wu, A General Theory for Jackknife Variance Estimation (1989), section 3: parts of half the size.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from training.progress import progress

Rows = NDArray[np.int64]
Measure = Callable[[Rows, Rows], Mapping[str, float]]
Interval = tuple[float, float]

LEVEL: Final = 0.9  # of 100 parts, five lie beyond each end
PARTS: Final = 100
LARGEST_SHARE: Final = 0.5  # parts of half the size vary as the whole does: the scale is 1
MOST_ROWS: Final = 500  # in a part: bounds the time to seconds for any size of the sets
SEED: Final = 0


def intervals(measure: Measure, first: int, second: int) -> dict[str, Interval]:
    """Compute the spread of every figure.

    Args:
        measure: figures by name, of rows of the first set and rows of the second.
        first: size of the first set, at least 2.
        second: size of the second set, at least 2.

    Returns:
        By name, the lower and the upper end of the central 90 % of the scaled deviations. Add them to the figure of the
        whole sets.
    """
    share = min(LARGEST_SHARE, MOST_ROWS / max(first, second))
    chance = np.random.default_rng(SEED)
    found: dict[str, list[float]] = {}
    with threadpool_limits(1):  # for matrices this small, threads cost more than they save
        for _ in progress(range(PARTS), "how sure the figures are", PARTS, "part"):
            parts = (chance.choice(size, max(1, round(share * size)), replace=False) for size in (first, second))
            for name, value in measure(*parts).items():
                found.setdefault(name, []).append(value)
    scale = np.sqrt(share / (1 - share))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends: dict[str, Interval] = {}
    for name, values in found.items():
        low, high = np.quantile(np.array(values) - np.mean(values), tails) * scale
        ends[name] = (float(low), float(high))
    return ends
