"""What a logit means: the odds of real against generated, and its percentile among reference logits.

Whatever the loss was, the exporter fitted on held-out samples how a logit maps to the log-odds of *real* at even
prior. For a discriminator at its optimum those are log p_data/p_g, so the same number is the density ratio's estimate
and, through the sigmoid, P(real). Percentiles need no fit: they rank a logit among those of held-out real and of
generated samples. Off the support of both, the numbers are defined but mean little.

Shapes: B logits.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), proposition 1: D* = p_data / (p_data + p_g).
    Platt, Probabilistic Outputs for Support Vector Machines (1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.engine.model_spec import DensityRatio, Knots, Line
from service.packages.schema import Discriminator, PiecewiseLinear, Platt, UnknownLabel

Numbers = NDArray[np.float64]
PERCENT = 100.0


class Ranking:
    """The percentile of a number in a reference distribution that is known by its quantiles.

    Args:
        quantiles: at evenly spaced probabilities 0 … 1, ascending, at least two.
    """

    def __init__(self, quantiles: Sequence[float]) -> None:
        values = np.asarray(quantiles, dtype=np.float64)
        probabilities = np.linspace(0, 1, len(values))
        self._values, first, counts = np.unique(values, return_index=True, return_counts=True)
        # A value that several quantiles share gets the middle of their probabilities (the mid-rank).
        self._probabilities = (probabilities[first] + probabilities[first + counts - 1]) / 2

    @property
    def highest(self) -> float:
        """The largest value of the reference."""
        return float(self._values[-1])

    def percentile(self, numbers: ArrayLike) -> Numbers:
        """Rank numbers [B]: 0 below the whole reference, 100 above it, linear between its quantiles."""
        ranks = np.interp(np.asarray(numbers, np.float64), self._values, self._probabilities, left=0, right=1)
        return PERCENT * np.asarray(ranks)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How to read one discriminator's logits, or another number that rises with how real a sample is.

    Attributes:
        fit: from a logit to log-odds.
        real: the logits of held-out real samples.
        generated: the logits of generated ones.
    """

    fit: Platt | PiecewiseLinear
    real: Ranking
    generated: Ranking

    @classmethod
    def of(cls, stated: Discriminator | UnknownLabel) -> "Calibration | None":
        """The calibration that a manifest states; None where it states none."""
        quantiles = stated.reference_quantiles
        if stated.calibration is None or quantiles is None:
            return None
        return cls(stated.calibration, Ranking(quantiles.real), Ranking(quantiles.generated))

    @property
    def density_ratio(self) -> DensityRatio:
        """The same, in the engine's words."""
        return DensityRatio(self._curve, self.generated.highest)

    @property
    def _curve(self) -> Line | Knots:
        if isinstance(self.fit, Platt):
            return Line(self.fit.slope, self.fit.intercept)
        return Knots(self.fit.logits, self.fit.log_odds)

    def log_density_ratio(self, logits: ArrayLike) -> Numbers:
        """Estimate log p_data/p_g.

        Args:
            logits: [B], finite.

        Returns:
            float64 [B], in nats; never descending in the logit.
        """
        return self._curve.at(logits)

    def probability(self, logits: ArrayLike) -> Numbers:
        """Estimate P(real) at even prior.

        Args:
            logits: [B], finite.

        Returns:
            float64 [B] in [0, 1].
        """
        # σ(x) = exp(−log(1 + exp(−x))): neither overflow nor lost digits at either end
        return np.exp(-np.logaddexp(0, -self.log_density_ratio(logits)))

    def percentile_real(self, logits: ArrayLike) -> Numbers:
        """Rank logits [B] among held-out real samples; float64 [B] in [0, 100]."""
        return self.real.percentile(logits)

    def percentile_generated(self, logits: ArrayLike) -> Numbers:
        """Rank logits [B] among generated samples; float64 [B] in [0, 100]."""
        return self.generated.percentile(logits)
