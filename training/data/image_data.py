"""Images in memory, and the protocol that every data set fulfils for the trainer.

Bytes, not floats: a quarter of the memory, and the stored values themselves are hashed, shown and scored.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FEWEST_HELD_OUT = 64  # for calibration and measurement: with fewer, the figures are meaningless

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Dataset(Protocol):
    """Data with a fixed split, as the trainer uses it.

    Attributes:
        train: [N, ...] samples: bytes are images, decoded to the range of `training.data.pixels`; other numbers are
            taken as they are.
        train_labels: [N] class numbers (or ids that samples belong to), or None where there are none.
        sha256: of the source's bytes, hexadecimal.
        attribution: source and license, one line.
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
        """[M, ...] samples that are not trained on."""
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
        """Shape of one sample."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes (or ids); 0 without labels."""
        ...


@dataclass(frozen=True)
class ImageData:
    """Images with a fixed split into those to train on and those held out.

    Attributes:
        train: [N, C, H, W].
        held_out: [M, C, H, W], not trained on.
        train_labels: [N] class numbers, or None where there are none.
        held_out_labels: [M] class numbers, or None.
        label_names: names of the classes, or None.
        sha256: of the source's bytes, hexadecimal: the same hash means the same data.
        attribution: source and license, one line.
        notes: how the source was read, one line each.
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
        """Shape of one sample, as `Dataset` has it."""
        return self.image_shape

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return 0 if self.label_names is None else len(self.label_names)
