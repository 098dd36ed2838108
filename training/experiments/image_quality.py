"""Trains and exports a pair on labelled images, and measures its samples by a classifier; for MNIST's plain rows.

The classifier is trained on the same training images; its error on held-out images, and training images in the samples'
place, are the floors of the figures.
"""

from typing import cast

import numpy as np

from training.data import ImageData
from training.evaluation import classifier, evaluate, reference_rows
from training.evaluation.modes import Modes
from training.experiments.base import Metrics, Setting
from training.experiments.trained import exported, trained
from training.export.graphs.export_seeds import Purpose


def measure(config_name: str, setting: Setting) -> Metrics:
    """Train one pair and measure the samples of its exported graph.

    Args:
        config_name: stem of a configuration whose data has labels.
        setting: of one seed; its folder keeps the run.

    Returns:
        Figures of as many quantised samples as there are held-out images, at most 10,000: classes drawn, distances with
        their floor, and the share that the classifier is sure of; of a conditional pair also the share with the
        requested class.
    """
    pair, _, data = exported(trained(config_name, setting), setting)
    images = cast("ImageData", data)
    samples = pair.generated(Purpose.EVALUATION, len(reference_rows(images)))
    judge = classifier.obtain(images)
    found = evaluate(samples.samples.astype(np.uint8, copy=False), images, judge, samples.labels)
    figures = found.generated
    modes = cast("Modes", figures.modes)  # a classifier has classes
    return {
        **({} if figures.label_accuracy is None else {"label_accuracy": figures.label_accuracy}),
        "classifier_accuracy": judge.accuracy,
        "modes": float(modes.captured),
        "frechet_distance": figures.frechet_distance,
        "frechet_floor": found.real.frechet_distance,
        "precision": figures.neighbourhoods.precision,
        "recall": figures.neighbourhoods.recall,
        "confident_share": modes.confident_share,
    }
