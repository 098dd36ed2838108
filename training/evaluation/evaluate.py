"""Evaluates generated images: all figures, with the same figures of real images and of blobs.

The real side is always the held-out part. The floor has as many random *training* images in the generator's place: it
is not zero because both sets are finite, and no generator should be below it. The other end has blobs with the data's
mean: a figure that does not separate them from real images is meaningless for generated ones.

Shapes: N images, C H W channels, height and width, F features, K classes.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes, Dataset, ImageData, Labels
from training.evaluation.classifier import Classifier, labels_of
from training.evaluation.distances import Features, frechet_distance, kernel_distance
from training.evaluation.feature_extractors import LARGEST_BLOB_SHARE, FeatureExtractor, blobs
from training.evaluation.intervals import LEVEL, PARTS, Interval, Rows, intervals
from training.evaluation.modes import Modes, count_modes
from training.evaluation.neighbourhoods import Neighbourhoods, compare

FLOOR_SEED = 0  # of the training images in the generator's place
MOST_SAMPLES = 10_000  # as for most published figures of small images; MNIST has as many held-out images
SAMPLES_PER_FEATURE: Final = 10  # below it, the covariances' error is a large part of the Fréchet distance
NOT_NEGATIVE: Final = frozenset({"frechet_distance", "density", "kl_to_uniform", "kl_to_data"})
SHARES: Final = frozenset({"precision", "recall", "coverage", "confident_share", "label_accuracy"})


@dataclass(frozen=True)
class Figures:
    """One set of images against the held-out ones; each figure is defined in its module.

    Attributes:
        modes: None where the judge knows no classes.
        label_accuracy: share of the images that the classifier gives the requested class; None if none was requested.
            In the real column, of held-out images.
        intervals: the central 90 % by name of figure; counts of classes have none.
    """

    frechet_distance: float
    kernel_distance: float
    neighbourhoods: Neighbourhoods
    modes: Modes | None
    label_accuracy: float | None = None
    intervals: Mapping[str, Interval] = dataclasses.field(default_factory=dict)

    def flat(self) -> dict[str, object]:
        """The figures by name, without their intervals."""
        return {
            "frechet_distance": self.frechet_distance,
            "kernel_distance": self.kernel_distance,
            **dataclasses.asdict(self.neighbourhoods),
            **({} if self.modes is None else dataclasses.asdict(self.modes)),
            **({} if self.label_accuracy is None else {"label_accuracy": self.label_accuracy}),
        }


@dataclass(frozen=True)
class Evaluation:
    """The figures, and the judge and samples that they rest on.

    Attributes:
        samples: N, generated images, and as many training images for the floor where there are as many.
        held_out: held-out images on the other side.
        real: figures of training images in their place.
        blobs: figures of blobs in their place, without intervals.
    """

    samples: int
    held_out: int
    judge: FeatureExtractor
    generated: Figures
    real: Figures
    blobs: Figures

    def summary(self) -> dict[str, object]:
        """Convert to plain values, for a manifest."""
        judge = self.judge
        of_classifier = {}
        if isinstance(judge, Classifier):
            recipe = dataclasses.asdict(judge.recipe)
            of_classifier["classifier"] = {"accuracy": judge.accuracy, "sha256": judge.sha256, "recipe": recipe}
        return {
            "samples": self.samples,
            "held_out_samples": self.held_out,
            "features": judge.facts(),
            **of_classifier,
            "generated": self.generated.flat(),
            "real": self.real.flat(),
            "blobs": self.blobs.flat(),
            "intervals": {
                "level": LEVEL,
                "parts": PARTS,
                "generated": {name: list(ends) for name, ends in self.generated.intervals.items()},
                "real": {name: list(ends) for name, ends in self.real.intervals.items()},
            },
        }

    def warnings(self) -> list[str]:
        """Limits of the figures, as sentences."""
        fewest, dimensions = min(self.samples, self.held_out), self.judge.dimensions
        found = []
        if fewest < SAMPLES_PER_FEATURE * dimensions:
            found.append(
                f"{fewest:,} images in {dimensions:,} dimensions are few: below "
                f"{SAMPLES_PER_FEATURE * dimensions:,} the Fréchet distance is biased upwards. Compare it "
                "only at the same number of images and with the column *real*; the kernel distance has no such "
                "bias."
            )
        blobs, real = self.blobs.neighbourhoods, self.real.neighbourhoods
        if blobs.precision > LARGEST_BLOB_SHARE * real.precision:
            found.append(
                f"By these features blobs have a precision of {blobs.precision:.2f}, so precision hardly shows "
                "whether images look real."
            )
        if blobs.density > LARGEST_BLOB_SHARE * real.density:
            found.append(f"Nor does density: that of blobs is {blobs.density:.2f}.")
        return found


def reference_rows(data: Dataset) -> NDArray[np.int64]:
    """Select the held-out samples to compare with.

    Returns:
        [M] rows of `held_out`: all of them, or 10,000 evenly spread over them.
    """
    available = len(data.held_out)
    count = min(available, MOST_SAMPLES)
    return np.arange(count) * available // count


def evaluate(
    generated: Bytes, data: ImageData, judge: FeatureExtractor, asked_labels: Labels | None = None
) -> Evaluation:
    """Judge generated images.

    Args:
        generated: [N, C, H, W].
        data: what they imitate; with labels, if the judge knows classes.
        asked_labels: [N] requested classes; None for an unconditional generator.
    """
    real = data.held_out[reference_rows(data)]
    held_out, _ = judge.extract(real)
    floor_count = min(len(generated), len(data.train))
    chosen = np.random.default_rng(FLOOR_SEED).choice(len(data.train), floor_count, replace=False)

    floor = data.train[np.sort(chosen)]

    def compared(images: Bytes, asked: Labels | None = None) -> _Compared:
        features, probabilities = judge.extract(images)
        return _Compared(features, held_out, probabilities, data, asked)

    of_real = compared(floor).with_intervals()
    if asked_labels is not None and isinstance(judge, Classifier):
        of_real = dataclasses.replace(of_real, label_accuracy=judge.accuracy)
    return Evaluation(
        samples=len(generated),
        held_out=len(real),
        judge=judge,
        generated=compared(generated, asked_labels).with_intervals(),
        real=of_real,
        blobs=compared(blobs(floor, np.random.default_rng(FLOOR_SEED))).whole(),
    )


@dataclass(frozen=True)
class _Compared:
    """Two sets of features, of which parts are compared.

    Attributes:
        features: [N, F] of the images in the generator's place.
        held_out: [M, F] of the held-out images.
        probabilities: [N, K] of the images' classes, where they are known.
        asked: [N] requested classes, if any.
    """

    features: Features
    held_out: Features
    probabilities: NDArray[np.float64] | None
    data: ImageData
    asked: Labels | None

    def figures(self, rows: Rows, held_out_rows: Rows) -> Figures:
        """Compare a part of each set."""
        features, held_out = self.features[rows], self.held_out[held_out_rows]
        modes = right = None
        if self.probabilities is not None:
            probabilities = self.probabilities[rows]
            modes = count_modes(probabilities, labels_of(self.data)[0])
            if self.asked is not None:
                right = float((probabilities.argmax(axis=1) == self.asked[rows]).mean())
        return Figures(
            frechet_distance=frechet_distance(features, held_out),
            kernel_distance=kernel_distance(features, held_out),
            neighbourhoods=compare(features, held_out),
            modes=modes,
            label_accuracy=right,
        )

    def whole(self) -> Figures:
        """Compare all of both sets."""
        return self.figures(np.arange(len(self.features)), np.arange(len(self.held_out)))

    def with_intervals(self) -> Figures:
        """Compare all of both sets, with intervals."""
        found = self.whole()
        spread = intervals(
            lambda rows, held_out_rows: _varying(self.figures(rows, held_out_rows)),
            len(self.features),
            len(self.held_out),
        )
        placed = {}
        for name, value in _varying(found).items():
            low, high = value + spread[name][0], value + spread[name][1]
            least = 0.0 if name in NOT_NEGATIVE | SHARES else -np.inf
            placed[name] = (max(low, least), min(high, 1.0 if name in SHARES else np.inf))
        return dataclasses.replace(found, intervals=placed)


def _varying(figures: Figures) -> dict[str, float]:
    """The figures that are numbers on a scale."""
    return {name: value for name, value in figures.flat().items() if isinstance(value, float)}
