"""A set of vectors in memory: what `ImageData` is for images, for samples that are plain numbers.

Vectors are kept as they are given: floats, without a range, because there is none to map to bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Labels

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class VectorData:
    """Vectors split once and for all into those to train on and those held out.

    Attributes:
        train: [N, D].
        held_out: [M, D]; no network ever sees these in training.
        sha256: of what the vectors follow from, hexadecimal: the same hash means the same data.
        attribution: whose data it is and under which terms, one line.
        train_labels: [N] class numbers, or None where there are none.
        held_out_labels: [M], likewise.
        label_names: what class k is called, or None.
    """

    name: str
    train: Vectors
    held_out: Vectors
    sha256: str
    attribution: str
    train_labels: Labels | None = None
    held_out_labels: Labels | None = None
    label_names: tuple[str, ...] | None = None

    @property
    def sample_shape(self) -> tuple[int]:
        """D of every vector, alone."""
        return (self.train.shape[1],)

    @property
    def classes(self) -> int:
        """How many classes the labels tell apart; 0 where there are none."""
        return 0 if self.label_names is None else len(self.label_names)
