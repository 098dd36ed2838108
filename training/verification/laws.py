"""Laws on the line with known densities, and integrals over them.

Integrals are sums over a fine grid, which for these smooth densities is far more exact than every comparison here.
Samples are quantiles instead of draws, so that a mean over them is almost an integral.

Shapes: N samples; a law's samples are [N, 1].
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from training.data.mixtures import Mixture

Numbers = NDArray[np.float64]

EDGE: Final = 15.0  # more than ten deviations from every mode here
GRID: Final[Numbers] = np.linspace(-EDGE, EDGE, 30_001)
STEP: Final = float(GRID[1] - GRID[0])


def on_the_line(weights: tuple[float, ...], means: tuple[float, ...], deviations: tuple[float, ...]) -> Mixture:
    """Make a mixture of normal laws on the line."""
    return Mixture(np.array(weights), np.array(means)[:, np.newaxis], np.array(deviations))


TWO_HILLS: Final = on_the_line((0.4, 0.6), (-1.5, 1.2), (0.5, 0.8))
NEAR: Final = on_the_line((0.5, 0.5), (-1.0, 1.0), (0.9, 0.9))
FAR: Final = on_the_line((0.7, 0.3), (0.5, 3.0), (0.7, 0.5))


def density(law: Mixture) -> Numbers:
    """Compute the density on the grid, [30001]."""
    return np.exp(law.log_density(GRID[:, np.newaxis]))


def integral(values: Numbers) -> float:
    """Integrate a function on the grid that vanishes at its ends."""
    return float(values.sum() * STEP)


def kullback_leibler(p: Numbers, q: Numbers) -> float:
    """KL(P || Q) of two densities on the grid, nats; a point where p underflows adds nothing."""
    seen = p > np.finfo(p.dtype).tiny
    return integral(p[seen] * np.log(p[seen] / q[seen]))


def jensen_shannon(p: Numbers, q: Numbers) -> float:
    """JSD(P, Q) of two densities on the grid, in [0, log 2] nats."""
    middle = (p + q) / 2
    return (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2


def quantile_function(law: Mixture) -> Callable[[Numbers], Tensor]:
    """Invert a law's distribution function.

    Args:
        law: on the line.

    Returns:
        Function from probabilities [N] in (0, 1) to quantiles [N, 1] float64.
    """
    below = ndtr((GRID[:, np.newaxis] - law.means[:, 0]) / law.deviations) @ law.weights
    return lambda shares: torch.from_numpy(np.interp(shares, below, GRID))[:, np.newaxis]


def even_shares(count: int) -> Numbers:
    """Compute the midpoints of `count` equal parts of (0, 1), [count]."""
    middles: Numbers = (np.arange(count) + 1 / 2) / count
    return middles


def log_density(law: Mixture, samples: Tensor) -> Tensor:
    """Compute the logarithm of the density, differentiable by the samples.

    Args:
        law: on the line.
        samples: [N, 1].

    Returns:
        [N], nats.
    """
    weights, means, deviations = (torch.from_numpy(part) for part in (law.weights, law.means[:, 0], law.deviations))
    exponents = -(((samples - means) / deviations).square() / 2) - deviations.log() - math.log(2 * math.pi) / 2
    return torch.logsumexp(exponents + weights.log(), dim=1)
