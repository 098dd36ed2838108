"""Conditional MNIST: is the requested digit drawn?

References:
    Miyato and Koyama, cGANs with Projection Discriminator (2018).
"""

from functools import partial
from typing import Final

from training.experiments import image_quality
from training.experiments.base import Experiment, Target

ASKED: Final = 0.985

EXPERIMENT: Final = Experiment(
    name="conditional_mnist",
    system="RpGAN + R1 + R2, projection discriminator",
    protocol="10,000 quantised samples of the exported graph, labels drawn evenly; share that our classifier takes for "
    "the digit asked for.",
    paper="none for MNIST; the classifier's own accuracy on held-out digits is the ceiling",
    seeds=1,
    targets=(Target(metric="label_accuracy", bound="at_least", value=ASKED),),
    run=partial(image_quality.measure, "conditional-mnist"),
    shown=("classifier_accuracy", "frechet_distance"),
)
