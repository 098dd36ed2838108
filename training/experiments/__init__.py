"""Published experiments: `EXPERIMENTS` lists what `reproduce` may be asked for, in the order of the results table.

In: a `Setting` (seed, folders). Out: metrics, stored in training/results and printed as a table.
May import everything in training except the command line and verification.
"""

from typing import Final

from training.experiments.base import Experiment
from training.experiments.studies.images import (
    bigan_mnist,
    conditional_mnist,
    dcgan_mnist,
    infogan_mnist,
    saturation,
    stacked_mnist,
    wgan_correlation,
)
from training.experiments.studies.mixtures_and_items import (
    fgan_mixture,
    grid,
    irgan_linear,
    irgan_movielens,
    irgan_planted,
    ring,
)

__all__ = ["EXPERIMENTS", "Experiment"]

ROWS: Final[tuple[Experiment, ...]] = (
    ring.EXPERIMENT,
    grid.EXPERIMENT,
    stacked_mnist.EXPERIMENT,
    conditional_mnist.EXPERIMENT,
    dcgan_mnist.EXPERIMENT,
    fgan_mixture.EXPERIMENT,
    wgan_correlation.EXPERIMENT,
    saturation.EXPERIMENT,
    infogan_mnist.EXPERIMENT,
    bigan_mnist.EXPERIMENT,
    irgan_planted.EXPERIMENT,
    irgan_movielens.EXPERIMENT,
    irgan_linear.EXPERIMENT,
)
EXPERIMENTS: Final = {experiment.name: experiment for experiment in ROWS}
