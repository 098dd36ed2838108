"""Images, in memory or mapped into it, and the protocol that every data set fulfils for the trainer.

Bytes, not floats: a quarter of the memory, and the stored values themselves are hashed, shown and scored.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FEWEST_HELD_OUT = 64  # for calibration and measurement: with fewer, the figures are meaningless

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]
Fingerprints = NDArray[np.uint64]


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
        fingerprints: [N + M, 2] of each image's name and content, those trained on first; None where images have no
            names.
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
    fingerprints: Fingerprints | None = None

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


@dataclass(frozen=True)
class Difference:
    """What happened to images between two readings, as numbers of images, by their names.

    Attributes:
        new: that are there now.
        gone: that are no longer there.
        replaced: with other content under the same name.
    """

    new: int
    gone: int
    replaced: int

    def __str__(self) -> str:
        """Such as `120 new images, 3 gone and 1 with other content`."""
        new = "new image" if self.new == 1 else "new images"
        counts = ((self.new, new), (self.gone, "gone"), (self.replaced, "with other content"))
        told = [f"{count:,} {words}" for count, words in counts if count]
        return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told) or "the same images"


def what_changed(before: Fingerprints, after: Fingerprints) -> Difference:
    """Compare two readings of images.

    Args:
        before: [N, 2] of names and contents.
        after: [M, 2] of the same.
    """
    was, now = (dict(zip(*images.T.tolist(), strict=True)) for images in (before, after))
    replaced = sum(was[name] != now[name] for name in was.keys() & now.keys())
    return Difference(new=len(now.keys() - was.keys()), gone=len(was.keys() - now.keys()), replaced=replaced)
