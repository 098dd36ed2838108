"""Judges a sample whose class is not stated, by its logits under every class: the likeliest class and how real it is.

    logits ─┬─▶ softmax(logits · weights + offsets) = P(y|x) ──▶ the likeliest class, named
            └─▶ the labelled calibration ──▶ P(real|x, y) ──▶ log-odds of Σ_y P(y|x)·P(real|x, y) ──▶ a calibration

With its class stated, a sample is real with probability P(real|x, y); otherwise with the mean of it under the posterior
of the class, which the exporter fitted, as it did the calibration of that mean. Readings are equal to the last bit for
any number of samples read together: sums over classes are written out, since a matrix product may add in another order
when there are more rows.

Shapes: N samples, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.packages.calibration import Calibration, Numbers
from service.packages.schema import Discriminator


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read of N samples.

    Attributes:
        labels: int64 [N], the likeliest class.
        label_probabilities: float64 [N], its probability.
        log_odds: float64 [N], of the mean probability, in nats; the input of the calibration.
    """

    labels: NDArray[np.int64]
    label_probabilities: Numbers
    log_odds: Numbers


@dataclass(frozen=True, slots=True)
class UnknownLabelReader:
    """How to read a discriminator where no class is stated.

    Attributes:
        weights: [K, K], the weight of one class's logit for each class.
        offsets: [K].
        labelled: of a logit under a sample's own class.
        calibration: of the log-odds of the mean.
    """

    weights: Numbers
    offsets: Numbers
    labelled: Calibration
    calibration: Calibration

    @classmethod
    def of(cls, discriminator: Discriminator) -> "UnknownLabelReader | None":
        """The reader that a manifest states; None where it states none."""
        stated = discriminator.unknown_label
        if stated is None:
            return None
        weights, offsets = np.array(stated.weights, np.float64), np.array(stated.offsets, np.float64)
        labelled, unlabelled = Calibration.of(discriminator), Calibration.of(stated)
        return None if labelled is None or unlabelled is None else cls(weights, offsets, labelled, unlabelled)

    def read(self, logits: NDArray[np.float32]) -> Readings:
        """Read logits [N, K], finite."""
        by_class = np.ascontiguousarray(logits.T, np.float64)
        scores = np.repeat(self.offsets[:, np.newaxis], len(logits), axis=1)
        for weight, logit in zip(self.weights, by_class, strict=True):
            scores += weight[:, np.newaxis] * logit
        log_probabilities = scores - _log_sum(scores)
        labels = log_probabilities.argmax(axis=0)
        likeliest = np.take_along_axis(log_probabilities, labels[np.newaxis], axis=0)[0]
        log_odds = self.labelled.log_density_ratio(by_class)  # of real, since the prior is even
        real = _log_sum(log_probabilities - np.logaddexp(0, -log_odds))
        generated = _log_sum(log_probabilities - np.logaddexp(0, log_odds))
        return Readings(labels.astype(np.int64), np.exp(likeliest), real - generated)


def _log_sum(values: Numbers) -> Numbers:
    """Log Σ exp of [K, N] over the classes; [N]. The maximum is subtracted, so that no exponential overflows."""
    highest = values.max(axis=0)
    total = np.zeros_like(highest)
    for each in values:
        total += np.exp(each - highest)
    summed: Numbers = highest + np.log(total)
    return summed
