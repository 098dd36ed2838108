"""A set of images in memory, the one type that every source of data produces.

Bytes, not floats: a quarter of the memory, and what is hashed, shown and scored is exactly what was stored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ImageData:
    """Images split once and for all into those to train on and those held out.

    Attributes:
        name: of the data set, for people.
        train: [N, C, H, W].
        held_out: [M, C, H, W]; no network ever sees these in training.
        train_labels: [N] class numbers, or None where there are none.
        held_out_labels: [M], likewise.
        label_names: what class k is called, or None.
        sha256: of the source's bytes, hexadecimal: the same hash means the same data.
        attribution: whose data it is and under which terms, one line.
    """

    name: str
    train: Bytes
    held_out: Bytes
    train_labels: Labels | None
    held_out_labels: Labels | None
    label_names: tuple[str, ...] | None
    sha256: str
    attribution: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.train.shape
        return channels, height, width
