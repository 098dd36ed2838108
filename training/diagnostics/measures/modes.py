"""Assigns samples to the modes of a run's data: exactly for a mixture, by a classifier for labelled images.

A classifier of single digits judges each channel of stacked digits.

The classifier has the evaluation's recipe with far fewer training samples, which suffices to count modes and does not
delay the run. It is trained before the first measurement and cached; a cached one gives the same figures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.config import Config
from training.data import mnist
from training.data.image_data import Dataset, ImageData
from training.data.mixtures import Mixture, MixtureConfig, mixture
from training.data.mnist import MnistConfig
from training.data.pixels import to_bytes
from training.data.stacked_mnist import CHANNELS, StackedMnistConfig
from training.evaluation import classifier
from training.evaluation.mixtures import DEVIATIONS

NO_MODE: Final = -1


@dataclass(frozen=True)
class ModeAssigner:
    """Assigns samples to modes.

    Attributes:
        assign: samples [N, ...] to numbers of modes, below `count`, or -1 for none: [N] int64.
        shares: [count] of the data, sum 1; the reference of the divergence.
    """

    count: int
    assign: Callable[[Tensor], NDArray[np.int64]]
    shares: NDArray[np.float64]


def readings(judge: ModeAssigner, samples: Tensor, near: Tensor | None = None) -> dict[str, float]:
    """Describe samples by their modes.

    Args:
        samples: [N, ...].
        near: [N] bool, which samples are near the data; the others are in no mode. None counts all.

    Returns:
        `modes`, how many are drawn at least once; `mode_entropy` of their histogram, nats; `mode_reverse_kl`,
        KL(histogram || the data's shares), nats; `in_a_mode`, the share of samples that are in any. Without a sample
        in a mode there is no histogram: 0 modes, and the two figures of it are left out.
    """
    assigned = judge.assign(samples)
    if near is not None:
        assigned = np.where(near.numpy(), assigned, NO_MODE)
    histogram = np.bincount(assigned[assigned != NO_MODE], minlength=judge.count)
    inside = int(histogram.sum())
    found = {"modes": float((histogram > 0).sum()), "in_a_mode": inside / len(assigned)}
    if inside == 0:
        return found
    seen = histogram > 0
    shares = histogram[seen] / inside
    entropy = -float((shares * np.log(shares)).sum())
    cross_entropy = -float((shares * np.log(judge.shares[seen])).sum())
    return {**found, "mode_entropy": entropy, "mode_reverse_kl": cross_entropy - entropy}


def uniform(count: int) -> NDArray[np.float64]:
    """Equal shares, [count]."""
    return np.full(count, 1 / count)


QUICK_RECIPE: Final = replace(classifier.RECIPE, samples=60_000)


def assigner_of(config: Config, data: Dataset) -> ModeAssigner | None:
    """Make the judge of a data set's modes.

    Returns:
        The judge, or None where the modes of the data are unknown or not to be counted.
    """
    if isinstance(config.data, MixtureConfig):
        return of_mixture(mixture(config.data))
    if not config.diagnostics.classifier:
        return None
    if isinstance(config.data, StackedMnistConfig):
        return of_channels(of_labels(mnist.load(MnistConfig(path=config.data.path))), CHANNELS)
    if isinstance(data, ImageData) and data.train_labels is not None and data.label_names is not None:
        return of_labels(data)
    return None


def of_mixture(law: Mixture) -> ModeAssigner:
    """Make the judge of a mixture's components.

    Returns:
        Assigns a sample to the mode whose centre is nearest in standard deviations, if that is within 3.

    References:
        Lin et al., PacGAN (2018), section 4.1: high-quality samples.
    """

    def assign(samples: Tensor) -> NDArray[np.int64]:
        offsets = samples.double().numpy()[:, np.newaxis] - law.means
        apart = np.linalg.norm(offsets, axis=2) / law.deviations
        nearest = apart.argmin(axis=1)
        return np.where(apart.min(axis=1) < DEVIATIONS, nearest, NO_MODE)

    return ModeAssigner(len(law.weights), assign, law.weights)


def of_labels(data: ImageData) -> ModeAssigner:
    """Make the judge of labelled images' classes.

    Returns:
        Assigns every sample to the classifier's first choice.
    """
    labels, _, names = classifier.labels_of(data)
    judge = classifier.obtain(data, recipe=QUICK_RECIPE)

    def assign(samples: Tensor) -> NDArray[np.int64]:
        _, probabilities = judge.extract(to_bytes(samples).numpy())
        first_choice: NDArray[np.int64] = probabilities.argmax(axis=1)
        return first_choice

    return ModeAssigner(len(names), assign, np.bincount(labels, minlength=len(names)) / len(labels))


def of_channels(single: ModeAssigner, channels: int) -> ModeAssigner:
    """Make the judge of images whose channels are independent images.

    Args:
        single: judge of images of one channel, which assigns each to a mode.

    Returns:
        Assigns to combinations of modes, whose shares are the products of their parts'.
    """

    def assign(samples: Tensor) -> NDArray[np.int64]:
        modes = np.zeros(len(samples), np.int64)
        for channel in range(channels):
            modes = modes * single.count + single.assign(samples[:, channel : channel + 1])
        return modes

    shares = np.ones(1)
    for _ in range(channels):
        shares = np.outer(shares, single.shares).ravel()
    return ModeAssigner(single.count**channels, assign, shares)
