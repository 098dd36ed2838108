"""Vectors in memory, as floats of any range."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Labels

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class VectorData:
    """Vectors with a fixed split into those to train on and those held out.

    Attributes:
        train: [N, D].
        held_out: [M, D], not trained on.
        sha256: of what the vectors follow from, hexadecimal: the same hash means the same data.
        attribution: source and license, one line.
        train_labels: [N] class numbers, or None where there are none.
        held_out_labels: [M] class numbers, or None.
        label_names: names of the classes, or None.
        redistributable: whether held-out vectors may be published with a package.
    """

    name: str
    train: Vectors
    held_out: Vectors
    sha256: str
    attribution: str
    train_labels: Labels | None = None
    held_out_labels: Labels | None = None
    label_names: tuple[str, ...] | None = None
    redistributable: bool = False

    @property
    def sample_shape(self) -> tuple[int]:
        """(D,)."""
        return (self.train.shape[1],)

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return 0 if self.label_names is None else len(self.label_names)
