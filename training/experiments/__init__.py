"""The rows of the results table, one a file.

`EXPERIMENTS` is what `reproduce` may be asked for, in the table's order.
"""

from typing import Final

from training.experiments import (
    bigan_mnist,
    conditional_mnist,
    fgan_mixture,
    grid,
    infogan_mnist,
    irgan_linear,
    irgan_movielens,
    irgan_planted,
    ring,
    saturation,
    stacked_mnist,
    wgan_correlation,
)
from training.experiments.port import Experiment

__all__ = ["EXPERIMENTS", "Experiment"]

ROWS: Final[tuple[Experiment, ...]] = (
    ring.EXPERIMENT,
    grid.EXPERIMENT,
    stacked_mnist.EXPERIMENT,
    conditional_mnist.EXPERIMENT,
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
