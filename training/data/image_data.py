"""A set of images in memory, and what every set of data, of images or not, tells the trainer.

Bytes, not floats: a quarter of the memory, and what is hashed, shown and scored is exactly what was stored.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FEWEST_HELD_OUT = 64  # samples that every package is calibrated and measured on: with fewer, its figures say nothing

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Dataset(Protocol):
    """Data to train on, split once and for all; the trainer asks for no more than this.

    Attributes:
        train: [N, ...] samples: bytes are images, decoded to the range of `training.data.pixels`; other numbers are
            taken as they are.
        train_labels: [N] class numbers (or ids that samples belong to), or None where there are none.
        sha256: of the source's bytes, hexadecimal.
        attribution: whose data it is and under which terms, one line.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def train(self) -> NDArray[np.generic]:
        """See above."""
        ...

    @property
    def held_out(self) -> NDArray[np.generic]:
        """[M, ...] samples that no network ever sees in training."""
        ...

    @property
    def train_labels(self) -> Labels | None:
        """See above."""
        ...

    @property
    def sha256(self) -> str:
        """See above."""
        ...

    @property
    def attribution(self) -> str:
        """See above."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        ...

    @property
    def classes(self) -> int:
        """How many classes (or ids) the labels tell apart; 0 where there are none."""
        ...


@dataclass(frozen=True)
class ImageData:
    """Images split once and for all into those to train on and those held out.

    Attributes:
        train: [N, C, H, W].
        held_out: [M, C, H, W]; no network ever sees these in training.
        train_labels: [N] class numbers, or None where there are none.
        held_out_labels: [M], likewise.
        label_names: what class k is called, or None.
        sha256: of the source's bytes, hexadecimal: the same hash means the same data.
        attribution: whose data it is and under which terms, one line.
        notes: how the source was read, for people, a line each.
    """

    name: str
    train: Bytes
    held_out: Bytes
    train_labels: Labels | None
    held_out_labels: Labels | None
    label_names: tuple[str, ...] | None
    sha256: str
    attribution: str
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.train.shape
        return channels, height, width

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """The same, in the words of every kind of data."""
        return self.image_shape

    @property
    def classes(self) -> int:
        """How many classes the labels tell apart; 0 where there are none."""
        return 0 if self.label_names is None else len(self.label_names)
