"""Chooses the feature extractors of an evaluation: a classifier of the data's classes, random convolutions, or both.

A classifier's features separate its classes and may lose the rest, which its accuracy does not show. So a classifier is
first tried on obviously unreal images (blobs), and used if it rejects them and has an accuracy of 95 %. Random
convolutions judge in addition or, without labels or a suitable classifier, alone.

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

# Less accurate classifiers mostly accept blobs.
LEAST_ACCURACY: Final = 0.95
TRIAL_IMAGES: Final = 1_000
TRIAL_SEED: Final = 0
# Of real images' density. Above it, a classifier's figures of quality are not usable; below it, the random convolutions
# beside it describe appearance better.
LARGEST_BLOB_SHARE: Final = 0.5
BLOB_WIDTHS: Final = (0.1, 0.3)  # of the image's side
BLOB_STRENGTH: Final = 20.0  # standard deviation of the blob's brightness, in steps of a byte


class FeatureExtractor(Protocol):
    """Maps images to features, and optionally to class probabilities."""

    @property
    def dimensions(self) -> int:
        """D."""
        ...

    def facts(self) -> dict[str, object]:
        """What identifies the features, as plain values; `sha256` is among them."""
        ...

    def extract(self, pixels: Bytes) -> tuple[Features, NDArray[np.float64] | None]:
        """Features [N, D] of images [N, C, H, W], and class probabilities [N, K] if the extractor has classes."""
        ...


@dataclass(frozen=True)
class BlobTest:
    """An extractor's density of blobs among held-out images, against that of real images.

    Density and not precision, because the balls of a few outlying real images are so large that anything lies inside.

    Attributes:
        blobs: of blobs on the training images' mean.
        real: of as many training images.
    """

    blobs: float
    real: float

    @property
    def passed(self) -> bool:
        """Whether the extractor separates blobs from real images."""
        return self.blobs <= LARGEST_BLOB_SHARE * self.real


@dataclass(frozen=True)
class Extractors:
    """The feature extractors of an evaluation.

    Attributes:
        extractors: one or two; a classifier, if there is one, comes first.
        rejected: why the classifier is not used, if there are labels; else empty.
    """

    extractors: tuple[FeatureExtractor, ...]
    rejected: str = ""


def choose(data: ImageData, held_out: int) -> Extractors:
    """Choose the feature extractors for a data set.

    Args:
        held_out: held-out images that will be compared with.

    Returns:
        A classifier, if there are labels and it passes, and random convolutions.
    """
    fitted = random_convolutions.fit(data, held_out)
    if data.train_labels is None:
        return Extractors((fitted,))
    trained = classifier.obtain(data)
    if trained.accuracy < LEAST_ACCURACY:
        return Extractors(
            (fitted,),
            f"one trained on the data's labels is right of {trained.accuracy:.1%} of the held-out images, and "
            f"{LEAST_ACCURACY:.0%} are the least to judge by",
        )
    trial = blob_test(trained, data)
    if not trial.passed:
        return Extractors(
            (fitted,),
            f"by the features of one trained on the data's labels ({trained.accuracy:.2%} right), blobs without any "
            f"detail have a density of {trial.blobs:.2f} where real images have {trial.real:.2f}",
        )
    return Extractors((trained, fitted))


def blob_test(extractor: FeatureExtractor, data: ImageData) -> BlobTest:
    """Test an extractor on blobs.

    Args:
        data: that the images to be judged imitate.
    """
    chance = np.random.default_rng(TRIAL_SEED)
    count = min(TRIAL_IMAGES, len(data.train), len(data.held_out))
    real = data.train[np.sort(chance.choice(len(data.train), count, replace=False))]
    reference, _ = extractor.extract(data.held_out[np.arange(count) * len(data.held_out) // count])
    densities = [compare(extractor.extract(images)[0], reference).density for images in (blobs(real, chance), real)]
    return BlobTest(*densities)


def blobs(images: Bytes, chance: np.random.Generator) -> Bytes:
    """Make images that share only the data's mean: a faint soft blob on the mean image.

    Args:
        images: [N, C, H, W] of the data.
        chance: of the blobs' positions, widths and brightness.

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
