"""Histogram of a generator's classes: which it draws, how evenly, and how confident a classifier is.

Counts and Kullback-Leibler divergences in nats; every class has a positive share in both references.

References:
    Srivastava et al., VEEGAN (2017), section 4.1: modes captured, and KL of the generated histogram from the data's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes
from training.data.stacked_mnist import CLASSES, DIGITS
from training.evaluation.classifier import Classifier

CONFIDENT = 0.9  # probability from which a sample counts as confident


@dataclass(frozen=True)
class Modes:
    """A classifier's histogram of a set of samples.

    Attributes:
        histogram: samples of each class, by the classifier's first choice.
        captured: classes with at least one sample.
        kl_to_uniform: KL(histogram || uniform), nats.
        kl_to_data: KL(histogram || classes of the training data), nats.
        confident_share: share of samples whose class has a probability above 0.9.
    """

    histogram: tuple[int, ...]
    captured: int
    kl_to_uniform: float
    kl_to_data: float
    confident_share: float


def count_modes(probabilities: NDArray[np.float64], training_labels: NDArray[np.int64]) -> Modes:
    """Count samples by a classifier's first choice.

    Args:
        probabilities: [N, K] of the classifier, rows sum to 1.
        training_labels: [M] classes of the training data, each of the K at least once.

    Returns:
        The histogram and the figures made from it.
    """
    classes = probabilities.shape[1]
    histogram = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    data = np.bincount(training_labels, minlength=classes) / len(training_labels)
    return Modes(
        histogram=tuple(int(count) for count in histogram),
        captured=int((histogram > 0).sum()),
        kl_to_uniform=_divergence(histogram, np.full(classes, 1 / classes)),
        kl_to_data=_divergence(histogram, data),
        confident_share=float((probabilities.max(axis=1) > CONFIDENT).mean()),
    )


def _divergence(histogram: NDArray[np.int64], reference: NDArray[np.float64]) -> float:
    """KL(histogram || reference) in nats; an empty bin adds nothing, as p log p goes to 0."""
    seen = histogram > 0
    shares = histogram[seen] / histogram.sum()
    return float((shares * np.log(shares / reference[seen])).sum())


SAMPLES = 26_000  # of PacGAN's tables; the divergence depends on it


@dataclass(frozen=True)
class StackedModes:
    """Histogram figures of stacked digits.

    Attributes:
        captured: classes of the thousand with at least one sample.
        kl_to_uniform: KL(histogram || uniform), nats.
    """

    captured: int
    kl_to_uniform: float


def count_stacked(pixels: Bytes, judge: Classifier) -> StackedModes:
    """Count stacked digits by class.

    Args:
        pixels: [N, 3, H, W].
        judge: of single digits [N, 1, H, W].

    Returns:
        Classes captured, and how uneven they are.
    """
    classes = np.zeros(len(pixels), np.int64)
    for channel in range(pixels.shape[1]):
        _, probabilities = judge.extract(pixels[:, channel : channel + 1])
        classes = classes * DIGITS + probabilities.argmax(axis=1)
    histogram = np.bincount(classes, minlength=CLASSES)
    shares = histogram[histogram > 0] / len(pixels)
    return StackedModes(
        captured=int((histogram > 0).sum()),
        kl_to_uniform=float((shares * np.log(shares * CLASSES)).sum()),  # an empty class adds nothing: p log p -> 0
    )
