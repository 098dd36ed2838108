"""One table of figures for a set of generated images, with the floor that real images set.

The real side is always the held-out part. The floor puts as many random *training* images in the generator's place:
what it shows is not zero because both sets are finite, and no generator should be believed to do better.

Shapes: N images, C H W channels, height and width.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes, Dataset, ImageData, Labels
from training.evaluation.classifier import Classifier, labels_of
from training.evaluation.distances import Features, frechet_distance, kernel_distance
from training.evaluation.modes import Modes, count_modes
from training.evaluation.neighbourhoods import Neighbourhoods, compare

FLOOR_SEED = 0  # which training images stand in for the generator
MOST_SAMPLES = 10_000  # what most published figures of small images rest on; MNIST has as many held-out images


@dataclass(frozen=True)
class Figures:
    """One set of images against the held-out ones; the modules beside this one say what each figure means.

    Attributes:
        label_accuracy: share of the images that the classifier takes for what they were asked to be; None where
            nothing was asked. In the real column, of held-out images.
    """

    frechet_distance: float
    kernel_distance: float
    neighbourhoods: Neighbourhoods
    modes: Modes
    label_accuracy: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was found, and what it was found with.

    Attributes:
        samples: N, generated images, and as many training images for the floor where there are as many.
        held_out: held-out images on the other side.
        classifier: the judge.
        generated: figures of the generated images.
        real: figures of training images in their place.
    """

    samples: int
    held_out: int
    classifier: Classifier
    generated: Figures
    real: Figures

    def summary(self) -> dict[str, object]:
        """The whole as plain values, for a manifest."""
        return {
            "samples": self.samples,
            "held_out_samples": self.held_out,
            "classifier": {
                "accuracy": self.classifier.accuracy,
                "sha256": self.classifier.sha256,
                "recipe": dataclasses.asdict(self.classifier.recipe),
            },
            "generated": _flat(self.generated),
            "real": _flat(self.real),
        }


def reference_rows(data: Dataset) -> NDArray[np.int64]:
    """Which held-out samples to compare with.

    Args:
        data: any.

    Returns:
        [M] rows of `held_out`: all of them, or 10,000 evenly spread over them.
    """
    available = len(data.held_out)
    count = min(available, MOST_SAMPLES)
    return np.arange(count) * available // count


def evaluate(
    generated: Bytes, data: ImageData, classifier: Classifier, asked_labels: Labels | None = None
) -> Evaluation:
    """Judge generated images.

    Args:
        generated: [N, C, H, W].
        data: what they imitate, with labels.
        classifier: trained on that data.
        asked_labels: [N] classes that the images were asked to be; None of an unconditional generator.

    Returns:
        The figures.
    """
    train_labels, _, _ = labels_of(data)
    real = data.held_out[reference_rows(data)]
    held_out, _ = classifier.judge(real)
    floor_count = min(len(generated), len(data.train))
    chosen = np.random.default_rng(FLOOR_SEED).choice(len(data.train), floor_count, replace=False)

    def figures(judged: tuple[Features, NDArray[np.float64]], label_accuracy: float | None) -> Figures:
        features, probabilities = judged
        return Figures(
            frechet_distance=frechet_distance(features, held_out),
            kernel_distance=kernel_distance(features, held_out),
            neighbourhoods=compare(features, held_out),
            modes=count_modes(probabilities, train_labels),
            label_accuracy=label_accuracy,
        )

    judged, asked = classifier.judge(generated), asked_labels is not None
    right = float((judged[1].argmax(axis=1) == asked_labels).mean()) if asked else None

    return Evaluation(
        samples=len(generated),
        held_out=len(real),
        classifier=classifier,
        generated=figures(judged, right),
        real=figures(classifier.judge(data.train[np.sort(chosen)]), classifier.accuracy if asked else None),
    )


def _flat(figures: Figures) -> dict[str, object]:
    return {
        "frechet_distance": figures.frechet_distance,
        "kernel_distance": figures.kernel_distance,
        **dataclasses.asdict(figures.neighbourhoods),
        **dataclasses.asdict(figures.modes),
        **({} if figures.label_accuracy is None else {"label_accuracy": figures.label_accuracy}),
    }
