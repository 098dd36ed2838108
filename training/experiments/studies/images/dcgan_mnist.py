"""DCGAN on MNIST: are all digits drawn, and how near to the data?

References:
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016).
"""

from functools import partial
from typing import Final

from training.experiments import image_quality
from training.experiments.base import Experiment, Target

DIGITS: Final = 10
# Half the 44.2 of the pair that this configuration had before: nearest-neighbour upsampling, a spectrally normalised
# discriminator without batch normalisation, constant rates, 600,000 samples.
LARGEST_DISTANCE: Final = 22.1

EXPERIMENT: Final = Experiment(
    name="dcgan_mnist",
    system="DCGAN, non-saturating loss with smoothed labels, batch normalisation in both players",
    protocol="10,000 quantised samples of the exported graph by the features of our classifier: Fréchet distance to "
    "MNIST's 10,000 held-out images, beside it that of as many training images; digits drawn at least once.",
    paper="none by these features; training images in the samples' place are the floor",
    seeds=2,
    targets=(
        Target(metric="modes", bound="at_least", value=float(DIGITS)),
        Target(metric="frechet_distance", bound="at_most", value=LARGEST_DISTANCE),
    ),
    run=partial(image_quality.measure, "dcgan-mnist"),
    shown=("frechet_floor", "precision", "recall", "confident_share"),
)
