"""How many of a thousand triples of digits a generator draws, and how evenly.

Each channel of an image is judged by a classifier of single digits; the three answers make the class. What is counted
depends on how many samples are: of 26,000, real triples show a divergence of about 0.024 nats, a perfectly even sampler
0.019; no generator should be believed to do better.

Shapes: N samples, C H W channels, height and width.

References:
    Metz et al., Unrolled Generative Adversarial Networks (2017), section 3.3.1.
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.2.
"""

from dataclasses import dataclass

import numpy as np

from training.data.image_data import Bytes
from training.data.stacked_mnist import CLASSES, DIGITS
from training.evaluation.classifier import Classifier

SAMPLES = 26_000  # of PacGAN's tables; the divergence depends on it


@dataclass(frozen=True)
class StackedModes:
    """What a classifier of digits sees in stacked ones.

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
        _, probabilities = judge.judge(pixels[:, channel : channel + 1])
        classes = classes * DIGITS + probabilities.argmax(axis=1)
    histogram = np.bincount(classes, minlength=CLASSES)
    shares = histogram[histogram > 0] / len(pixels)
    return StackedModes(
        captured=int((histogram > 0).sum()),
        kl_to_uniform=float((shares * np.log(shares * CLASSES)).sum()),  # an empty class adds nothing: p log p -> 0
    )
