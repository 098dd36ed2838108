"""Stacked MNIST: three random digits as the red, green and blue of one image, which makes a thousand classes.

The classes are known, equally frequent and many, so it shows how many of them a generator has lost. Triples of training
digits are trained on, triples of test digits are held out. All are composed in memory, 300 MB as bytes.

References:
    Metz et al., Unrolled Generative Adversarial Networks (2017), section 3.3.1.
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.2.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, cast

import numpy as np

from training.data import mnist
from training.data.image_data import Bytes, ImageData, Labels
from training.data.mnist import MnistConfig
from training.tables import Range

DIGITS: Final = 10
CHANNELS: Final = 3
CLASSES: Final = DIGITS**CHANNELS
TRAIN, HELD_OUT = range(2)  # draws of the data's own seed

Count = Annotated[int, Range(at_least=1)]


@dataclass(frozen=True, kw_only=True)
class StackedMnistConfig:
    """The `[data]` table of kind "stacked_mnist".

    Attributes:
        path: folder of MNIST's four files; empty for the standard places.
        train_samples: triples to train on, 128,000 as in the papers.
        held_out_samples: triples to measure with.
        data_seed: which digits meet; the seed of a run changes the run on the same data.
    """

    kind: ClassVar[str] = "stacked_mnist"
    path: str = ""
    train_samples: Count = 128_000
    held_out_samples: Count = 26_000
    data_seed: Annotated[int, Range(at_least=0)] = 0


def load(config: StackedMnistConfig) -> ImageData:
    """Compose both sets from MNIST.

    Args:
        config: how many, and where MNIST is.

    Returns:
        Images [N, 3, 28, 28] with labels: the class of 4, 0, 7 is 407.

    Raises:
        DataError: if a file of MNIST is missing, unreadable or not MNIST's.
    """
    digits = mnist.load(MnistConfig(path=config.path))
    train, train_labels = _stack(
        digits.train, cast("Labels", digits.train_labels), config.train_samples, (config.data_seed, TRAIN)
    )
    held_out, held_out_labels = _stack(
        digits.held_out, cast("Labels", digits.held_out_labels), config.held_out_samples, (config.data_seed, HELD_OUT)
    )
    return ImageData(
        name="stacked MNIST",
        train=train,
        held_out=held_out,
        train_labels=train_labels,
        held_out_labels=held_out_labels,
        label_names=tuple(f"{number:0{CHANNELS}d}" for number in range(CLASSES)),
        sha256=hashlib.sha256(train.tobytes() + held_out.tobytes()).hexdigest(),
        attribution=digits.attribution,
    )


def _stack(images: Bytes, labels: Labels, count: int, seed: tuple[int, int]) -> tuple[Bytes, Labels]:
    rows = np.random.default_rng(seed).integers(len(images), size=(count, CHANNELS))
    stacked = np.empty((count, CHANNELS, *images.shape[2:]), np.uint8)
    for channel in range(CHANNELS):
        stacked[:, channel] = images[rows[:, channel], 0]
    return stacked, labels[rows] @ DIGITS ** np.arange(CHANNELS)[::-1]
