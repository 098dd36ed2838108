"""Mixtures of Gaussians: data whose density, modes and optimum are known, so that a game can be compared with theory.

    ring               8 modes on a circle of radius 1, deviation 0.01
    grid               25 modes at {-4, -2, 0, 2, 4}^2, deviation 0.05
    gaussian_mixture   any number of modes on the line, with weights, means and deviations of their own

Each is a `Mixture`, a sum of round Gaussians. Training uses a finite set drawn from it, measurements the mixture
itself.

Shapes: N samples, D numbers of a vector, M modes.

References:
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.1: ring and grid.
    Nowozin, Cseke and Tomioka, f-GAN (2016), section 2.4: a mixture on the line.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from training.data.vector_data import VectorData
from training.errors import ConfigError
from training.tables import Range

RING_MODES, RING_RADIUS, RING_DEVIATION = 8, 1.0, 0.01
GRID_TICKS: Final = (-4.0, -2.0, 0.0, 2.0, 4.0)
GRID_DEVIATION = 0.05
TRAIN, HELD_OUT = range(2)  # draws of the data's own seed
WEIGHT_TOLERANCE = 1e-6  # of their sum from 1: weights are written as decimals

Count = Annotated[int, Range(at_least=1)]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """A weighted sum of round Gaussians.

    Attributes:
        weights: [M], positive, of sum 1.
        means: [M, D].
        deviations: [M], positive: the standard deviation along every axis.
    """

    weights: Numbers
    means: Numbers
    deviations: Numbers

    def log_density(self, samples: NDArray[np.floating]) -> Numbers:
        """Compute the exact logarithm of the density.

        Args:
            samples: [N, D].

        Returns:
            [N], nats.
        """
        dimensions = self.means.shape[1]
        scaled = (samples[:, np.newaxis] - self.means) / self.deviations[:, np.newaxis]
        exponents = -np.square(scaled).sum(axis=2) / 2 - dimensions * np.log(self.deviations * np.sqrt(2 * np.pi))
        densities: Numbers = logsumexp(exponents, axis=1, b=self.weights)
        return densities

    def sample(self, chance: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Draw from the mixture.

        Args:
            count: N.

        Returns:
            [N, D].
        """
        modes = chance.choice(len(self.weights), size=count, p=self.weights)
        noise = chance.standard_normal((count, self.means.shape[1]))
        return (self.means[modes] + self.deviations[modes, np.newaxis] * noise).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _MixtureConfig:
    """The keys that every mixture has.

    Attributes:
        train_samples: how many the players are shown.
        held_out_samples: how many they are not.
        data_seed: which samples; the seed of a run changes the run on the same data.
    """

    train_samples: Count = 100_000
    held_out_samples: Count = 10_000
    data_seed: Annotated[int, Range(at_least=0)] = 0


@dataclass(frozen=True, kw_only=True)
class RingConfig(_MixtureConfig):
    """The `[data]` table of kind "ring"."""

    kind: ClassVar[str] = "ring"


@dataclass(frozen=True, kw_only=True)
class GridConfig(_MixtureConfig):
    """The `[data]` table of kind "grid"."""

    kind: ClassVar[str] = "grid"


@dataclass(frozen=True, kw_only=True)
class GaussianMixtureConfig(_MixtureConfig):
    """The `[data]` table of kind "gaussian_mixture": on the line.

    Attributes:
        weights: of the modes, of sum 1.
        means: of the modes.
        deviations: standard deviations of the modes.
    """

    kind: ClassVar[str] = "gaussian_mixture"
    weights: tuple[Annotated[float, Range(above=0, at_most=1)], ...]
    means: tuple[float, ...]
    deviations: tuple[Annotated[float, Range(above=0)], ...]


MixtureConfig = RingConfig | GridConfig | GaussianMixtureConfig


def ring() -> Mixture:
    """Eight modes, evenly on the unit circle, from angle 0."""
    angles = 2 * np.pi * np.arange(RING_MODES) / RING_MODES
    return _even(RING_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1), RING_DEVIATION)


def grid() -> Mixture:
    """Twenty-five modes on a square grid."""
    return _even(np.stack(np.meshgrid(GRID_TICKS, GRID_TICKS, indexing="ij"), axis=2).reshape(-1, 2), GRID_DEVIATION)


def mixture(config: MixtureConfig) -> Mixture:
    """Make the mixture of a configuration.

    Raises:
        ConfigError: if the lists differ in length or the weights do not sum to 1.
    """
    match config:
        case RingConfig():
            return ring()
        case GridConfig():
            return grid()
        case GaussianMixtureConfig():
            return _on_the_line(config)


def load(config: MixtureConfig) -> VectorData:
    """Draw a training set and a held-out one.

    Returns:
        Vectors [N, D] without labels; the same for the same configuration.

    Raises:
        ConfigError: as `mixture`.
    """
    law = mixture(config)
    train = law.sample(np.random.default_rng((config.data_seed, TRAIN)), config.train_samples)
    held_out = law.sample(np.random.default_rng((config.data_seed, HELD_OUT)), config.held_out_samples)
    return VectorData(
        name=config.kind,
        train=train,
        held_out=held_out,
        sha256=hashlib.sha256(train.tobytes() + held_out.tobytes()).hexdigest(),
        attribution="drawn from a known mixture of Gaussians",
        redistributable=True,
    )


def _even(means: Numbers, deviation: float) -> Mixture:
    """Modes of equal weight and deviation."""
    count = len(means)
    return Mixture(np.full(count, 1 / count), means, np.full(count, deviation))


def _on_the_line(config: GaussianMixtureConfig) -> Mixture:
    lists = (config.weights, config.means, config.deviations)
    if len({len(values) for values in lists}) > 1:
        raise ConfigError(
            f"[data] has {len(config.weights)} weights, {len(config.means)} means and {len(config.deviations)} "
            "deviations; give one of each for every mode"
        )
    weights, means, deviations = (np.array(values) for values in lists)
    if abs(weights.sum() - 1) > WEIGHT_TOLERANCE:
        raise ConfigError(f"[data] weights sum to {weights.sum():g}; they must sum to 1")
    return Mixture(weights / weights.sum(), means[:, np.newaxis], deviations)
