"""Who looks at images: a classifier of their classes, random convolutions, or a network that the user brings.

A classifier's features hold what tells its classes apart and may lose the rest. How many held-out images it gets right
does not tell which: one that was right of 99.9 % of photographs, in two classes, took blobs of their mean colours for
as good as photographs. So a classifier is tried first, on images that nobody would take for real, and is used where it
passes and is right of 95 %. Random convolutions judge with it or, where it may not or there are no labels, alone.

Shapes: N images, C H W channels, height and width, D features, K classes.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes, ImageData
from training.evaluation import classifier, random_convolutions
from training.evaluation.distances import Features
from training.evaluation.neighbourhoods import compare

# Of 16 classifiers of three data sets that were right of 93 % or less, 15 gave blobs a precision above 0.92.
LEAST_ACCURACY: Final = 0.95
TRIAL_IMAGES: Final = 1_000
TRIAL_SEED: Final = 0
# Of real images' density. Classifiers right of 99 % of digits gave blobs none of it (8x8) or 0.34 (MNIST); those of
# photographs in two classes, right of 95 to 100 %, gave them 0.36 to 1.07. Beyond it a classifier's every figure of
# quality is in doubt; below it, the random convolutions beside it are still the better judge of looks.
LARGEST_BLOB_SHARE: Final = 0.5
BLOB_WIDTHS: Final = (0.1, 0.3)  # of the image's side
BLOB_STRENGTH: Final = 20.0  # standard deviation of the blob's brightness, in steps of a byte


class Judge(Protocol):
    """Turns images into features, and perhaps into the probabilities of their classes."""

    @property
    def dimensions(self) -> int:
        """D."""
        ...

    def facts(self) -> dict[str, object]:
        """What identifies the features, as plain values; `sha256` is among them."""
        ...

    def judge(self, pixels: Bytes) -> tuple[Features, NDArray[np.float64] | None]:
        """Features [N, D] of images [N, C, H, W], and class probabilities [N, K] where the judge knows classes."""
        ...


@dataclass(frozen=True)
class Trial:
    """What a judge makes of images that nobody would take for real, by their density among held-out images.

    Density and not precision: a few outlying real images have balls so large that anything may lie in one.

    Attributes:
        blobs: of blobs on the training images' mean.
        real: of as many training images.
    """

    blobs: float
    real: float

    @property
    def passed(self) -> bool:
        """Whether the judge tells the one from the other."""
        return self.blobs <= LARGEST_BLOB_SHARE * self.real


@dataclass(frozen=True)
class Panel:
    """Who judges.

    Attributes:
        judges: one or two; a classifier, if there is one, comes first.
        rejected: why there is no classifier among them though there are labels; empty otherwise.
    """

    judges: tuple[Judge, ...]
    rejected: str = ""


def choose(data: ImageData, held_out: int) -> Panel:
    """Find who may judge images like those of a data set.

    Args:
        data: with labels or without.
        held_out: held-out images that will be compared with.

    Returns:
        Random convolutions, after a classifier where there is one that may.
    """
    fitted = random_convolutions.fit(data, held_out)
    if data.train_labels is None:
        return Panel((fitted,))
    trained = classifier.obtain(data)
    if trained.accuracy < LEAST_ACCURACY:
        return Panel(
            (fitted,),
            f"one trained on the data's labels is right of {trained.accuracy:.1%} of the held-out images, and "
            f"{LEAST_ACCURACY:.0%} are the least to judge by",
        )
    trial = try_out(trained, data)
    if not trial.passed:
        return Panel(
            (fitted,),
            f"by the features of one trained on the data's labels ({trained.accuracy:.2%} right), blobs without any "
            f"detail have a density of {trial.blobs:.2f} where real images have {trial.real:.2f}",
        )
    return Panel((trained, fitted))


def try_out(judge: Judge, data: ImageData) -> Trial:
    """Try a judge on blobs.

    Args:
        data: that the images to be judged imitate.
    """
    chance = np.random.default_rng(TRIAL_SEED)
    count = min(TRIAL_IMAGES, len(data.train), len(data.held_out))
    real = data.train[np.sort(chance.choice(len(data.train), count, replace=False))]
    reference, _ = judge.judge(data.held_out[np.arange(count) * len(data.held_out) // count])
    densities = [compare(judge.judge(images)[0], reference).density for images in (blobs(real, chance), real)]
    return Trial(*densities)


def blobs(images: Bytes, chance: np.random.Generator) -> Bytes:
    """Images that have the data's mean and nothing else of it: a faint soft blob on the mean image.

    Args:
        images: [N, C, H, W] of the data.
        chance: where the blobs are, how wide, and how bright in each channel.

    Returns:
        [N, C, H, W].
    """
    count, channels, height, width = images.shape
    rows, columns = np.mgrid[:height, :width]
    down, right, spread = chance.uniform([[0.2], [0.2], [BLOB_WIDTHS[0]]], [[0.8], [0.8], [BLOB_WIDTHS[1]]], (3, count))
    down, right, spread = (values[:, np.newaxis, np.newaxis] for values in (down, right, spread))
    apart = ((rows / height - down) ** 2 + (columns / width - right) ** 2) / (2 * spread**2)
    brightness = chance.normal(0, BLOB_STRENGTH, (count, channels, 1, 1))
    drawn = images.mean(axis=0) + brightness * np.exp(-apart)[:, np.newaxis]
    pixels: Bytes = np.rint(drawn.clip(0, 255)).astype(np.uint8)
    return pixels
