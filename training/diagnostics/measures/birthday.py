"""Estimates how many different samples a generator can draw from how often two samples coincide (birthday paradox).

Among s draws from N equally likely values, s (s - 1) / 2N pairs coincide on average; so a batch of s with an even
chance of a coincidence means that N is about s^2. Turned around, c coinciding pairs estimate N = s (s - 1) / 2c; where
values are not equally likely this is the effective number 1 / sum of p^2, which the true one exceeds.

Continuous samples never coincide exactly. Two of them count as duplicates if they are nearer than nearly all real
samples come to each other: under the 1 % quantile of the distance to the nearest neighbour among as many real
samples. The number of duplicates of real samples is subtracted, so that only the generator's excess counts. Without an
excess there is no estimate but a lower bound.

References:
    Arora and Zhang, Do GANs actually learn the distribution? An empirical study (2017), section 3 and theorem 1.
    Garwood, Fiducial limits for the Poisson distribution (1936): the interval of a count.
"""

from dataclasses import dataclass
from typing import Final

import torch
from scipy.stats import chi2
from torch import Tensor

from training.diagnostics.measures.distances import distances, pair_distances

NEAREST_QUANTILE: Final = 0.01  # nearer than 99 of 100 real samples have their nearest neighbour
TAIL: Final = 0.025  # probability beyond each end of the interval, which covers 95 %


@dataclass(frozen=True)
class DuplicateThreshold:
    """The threshold for duplicates.

    Attributes:
        threshold: largest distance of two duplicates, in the samples' units.
        real_pairs: duplicates among as many real samples.
    """

    threshold: float
    real_pairs: int


@dataclass(frozen=True)
class Birthday:
    """An estimate of the support.

    Attributes:
        samples: s, how many were drawn.
        pairs: duplicates among them.
        real_pairs: duplicates among as many real samples.
        support: the estimate of N; None where the generator shows no more duplicates than the data.
        low: lower end of its 95 % interval, given in any case.
        high: upper end; None if there is no estimate.
    """

    samples: int
    pairs: int
    real_pairs: int
    support: float | None
    low: float
    high: float | None

    def words(self) -> str:
        """The estimate as a sentence."""
        counted = f"{self.pairs:,} pairs of duplicates among {self.samples:,} samples ({self.real_pairs:,} among real)"
        if self.support is None or self.high is None:
            return f"{counted}: no sign of a small support; it is above {self.low:,.0f}"
        interval = f"95 % interval {self.low:,.0f} to {self.high:,.0f}"
        return f"{counted}: about {self.support:,.0f} different samples ({interval})"

    def readings(self) -> dict[str, float]:
        """The available figures, by name."""
        figures = {"birthday_pairs": float(self.pairs), "support_low": self.low}
        optional = {"support": self.support, "support_high": self.high}
        return figures | {name: figure for name, figure in optional.items() if figure is not None}


def calibrate(real: Tensor) -> DuplicateThreshold:
    """Compute the threshold from real samples.

    Args:
        real: [s, ...], as many as will be generated.
    """
    apart = distances(real, real)
    nearest = apart.fill_diagonal_(torch.inf).min(dim=1).values
    threshold = float(nearest.quantile(NEAREST_QUANTILE))
    return DuplicateThreshold(threshold, int((pair_distances(real) <= threshold).sum()))


def estimate(generated: Tensor, ruler: DuplicateThreshold, apart: Tensor | None = None) -> Birthday:
    """Count coincidences and estimate the support.

    Args:
        generated: [s, ...].
        ruler: of as many real samples.
        apart: distances of all pairs of them, if computed before.
    """
    drawn = len(generated)
    possible = drawn * (drawn - 1) / 2
    found = int(((pair_distances(generated) if apart is None else apart) <= ruler.threshold).sum())
    least, most = (end - ruler.real_pairs for end in _poisson_interval(found))
    return Birthday(
        samples=drawn,
        pairs=found,
        real_pairs=ruler.real_pairs,
        support=possible / (found - ruler.real_pairs) if least > 0 else None,  # an excess within chance does not count
        low=possible / max(most, 1),
        high=possible / least if least > 0 else None,
    )


def _poisson_interval(count: int) -> tuple[float, float]:
    """Garwood's 95 % interval of the mean, for a count of events."""
    least = float(chi2.ppf(TAIL, 2 * count)) / 2 if count else 0.0
    return least, float(chi2.ppf(1 - TAIL, 2 * (count + 1))) / 2
