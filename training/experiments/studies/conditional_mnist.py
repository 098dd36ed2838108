"""Conditional MNIST: is the requested digit drawn?

The judge is a classifier trained on MNIST's training images; its error on held-out images is the floor of the figure.

References:
    Miyato and Koyama, cGANs with Projection Discriminator (2018).
"""

from typing import Final, cast

import numpy as np

from training.data import ImageData
from training.evaluation import classifier, evaluate, reference_rows
from training.evaluation.modes import Modes
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.export.graphs.export_seeds import Purpose

CONFIG: Final = "conditional-mnist"
ASKED = 0.985


def measure(setting: Setting) -> Metrics:
    """Train one pair and draw every digit from its exported graph.

    Args:
        setting: of one seed; its folder keeps the run.

    Returns:
        Share of 10,000 samples with the requested class, the classifier's accuracy on held-out images, and the figures
        of quality.
    """
    pair, _, data = exported(trained(CONFIG, setting), setting)
    images = cast("ImageData", data)
    samples = pair.generated(Purpose.EVALUATION, len(reference_rows(images)))
    pixels = samples.samples.astype(np.uint8, copy=False)
    judge = classifier.obtain(images)
    found = evaluate(pixels, images, judge, samples.labels)
    figures = found.generated
    return {
        "label_accuracy": cast("float", figures.label_accuracy),  # the configuration is conditional
        "classifier_accuracy": judge.accuracy,
        "frechet_distance": figures.frechet_distance,
        "frechet_floor": found.real.frechet_distance,
        "precision": figures.neighbourhoods.precision,
        "recall": figures.neighbourhoods.recall,
        "confident_share": cast("Modes", figures.modes).confident_share,  # a classifier has classes
    }


EXPERIMENT: Final = Experiment(
    name="conditional_mnist",
    system="RpGAN + R1 + R2, projection discriminator",
    protocol="10,000 quantised samples of the exported graph, labels drawn evenly; share that our classifier takes for "
    "the digit asked for.",
    paper="none for MNIST; the classifier's own accuracy on held-out digits is the ceiling",
    seeds=1,
    targets=(Target(metric="label_accuracy", bound="at_least", value=ASKED),),
    run=measure,
    shown=("classifier_accuracy", "frechet_distance"),
)
