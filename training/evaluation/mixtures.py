"""Coverage of a mixture with known modes, by the rule of the literature's tables.

    high quality     a sample within three standard deviations of its nearest mode
    captured         a mode that is the nearest one of at least one high-quality sample
    reverse KL       KL(high-quality samples over modes || the modes' weights), nats

Samples of the mixture itself are not perfect either: of two-dimensional modes only 1 - exp(-9/2) = 98.89 % lie within
three deviations, and 2,500 samples leave a reverse KL of about (M - 1) / 5,000 by chance (0.0014 with 8 modes, 0.0048
with 25). No generator should be better.

Shapes: N samples, D numbers of a vector, M modes.

References:
    Srivastava et al., VEEGAN (2017), section 4.1: high-quality samples and modes captured.
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.1: the reverse KL.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.mixtures import Mixture

SAMPLES = 2_500  # of both papers' tables; the reverse KL depends on it
DEVIATIONS = 3.0  # of both papers


@dataclass(frozen=True)
class Coverage:
    """Samples of a mixture, counted by mode.

    Attributes:
        histogram: [M] high-quality samples nearest to each mode.
        captured: modes with at least one.
        high_quality_share: of all samples, in [0, 1].
        reverse_kl: nats, at least 0; its largest value, log M for even modes, where no sample is of high quality.
    """

    histogram: tuple[int, ...]
    captured: int
    high_quality_share: float
    reverse_kl: float


def cover(samples: NDArray[np.floating], law: Mixture) -> Coverage:
    """Count samples by mode.

    Args:
        samples: [N, D].
        law: what they imitate.

    Returns:
        The counts and the figures made from them.
    """
    offsets = (samples[:, np.newaxis] - law.means) / law.deviations[:, np.newaxis]
    distances = np.sqrt(np.square(offsets).sum(axis=2))
    nearest = distances.argmin(axis=1)
    good = distances.min(axis=1) < DEVIATIONS
    histogram = np.bincount(nearest[good], minlength=len(law.means))
    return Coverage(
        histogram=tuple(int(count) for count in histogram),
        captured=int((histogram > 0).sum()),
        high_quality_share=float(good.mean()),
        reverse_kl=_divergence(histogram, law),
    )


def _divergence(histogram: NDArray[np.int64], law: Mixture) -> float:
    """An empty mode adds nothing, as p log p goes to 0."""
    seen = histogram > 0
    if not seen.any():
        return -math.log(law.weights.min())
    shares = histogram[seen] / histogram.sum()
    return float((shares * np.log(shares / law.weights[seen])).sum())
