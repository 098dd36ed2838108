"""What a discriminator's logits say of log p_data/p_g, as plain data: the curve its exporter fitted.

Selection by the discriminator needs the ratio of densities, not a logit of whatever loss. The engine is told the curve
with the graph and knows neither manifests nor how it was fitted; `service/packages/calibration.py` reads the same
curve for `/score`, so that both speak of one number.

Shapes: any number of logits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: slope·logit + intercept.

    Attributes:
        slope: never negative.
        intercept: in nats.
    """

    slope: float
    intercept: float

    def at(self, logits: ArrayLike) -> NDArray[np.float64]:
        """The log ratio of each logit, in nats."""
        return self.slope * np.asarray(logits, np.float64) + self.intercept


@dataclass(frozen=True, slots=True)
class Knots:
    """A curve that is linear between knots and constant beyond them.

    Attributes:
        logits: the knots, strictly ascending.
        log_ratios: at the knots, in nats, never descending.
    """

    logits: tuple[float, ...]
    log_ratios: tuple[float, ...]

    def at(self, logits: ArrayLike) -> NDArray[np.float64]:
        """The log ratio of each logit, in nats."""
        return np.asarray(np.interp(np.asarray(logits, np.float64), self.logits, self.log_ratios))


@dataclass(frozen=True, slots=True)
class DensityRatio:
    """The estimate of log p_data/p_g, and the highest that is known of generated samples.

    Attributes:
        curve: from a logit to the log ratio.
        highest_logit: of the generated samples that the exporter kept for reference.
    """

    curve: Line | Knots
    highest_logit: float

    @property
    def ceiling(self) -> float:
        """The log ratio that few generated samples pass, in nats."""
        return float(self.curve.at(self.highest_logit))
