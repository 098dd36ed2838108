"""DCGAN on MNIST: are all digits drawn, and how near to the data?

References:
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016).
"""

from functools import partial
from typing import Final

from training.experiments import image_quality
from training.experiments.base import Experiment, Target

DIGITS: Final = 10
LARGEST_DISTANCE: Final = 19.6  # of models/dcgan-mnist: narrower networks after 256,000 samples

EXPERIMENT: Final = Experiment(
    name="dcgan_mnist",
    system="DCGAN, non-saturating loss with smoothed labels, spectrally normalised discriminator",
    protocol="10,000 quantised samples of the exported graph by the features of our classifier: Fréchet distance to "
    "MNIST's 10,000 held-out images, beside it that of as many training images; digits drawn at least once.",
    paper="none by these features; training images in the samples' place are the floor",
    seeds=1,
    targets=(
        Target(metric="modes", bound="at_least", value=float(DIGITS)),
        Target(metric="frechet_distance", bound="at_most", value=LARGEST_DISTANCE),
    ),
    run=partial(image_quality.measure, "dcgan-mnist"),
    shown=("frechet_floor", "precision", "recall", "confident_share"),
)
