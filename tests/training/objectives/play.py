"""Players for objectives: networks so simple that losses can be computed by hand.

Shapes: samples are [B, 1, 1, 2], two numbers each; latents are [B, 2] and the generator passes them on.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from training.objectives import (
    FeatureMatching,
    FGan,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from training.objectives.base import Batch, Networks

OBJECTIVES: Final = (
    Minimax(),
    NonSaturating(),
    LeastSquares(),
    Hinge(),
    Wasserstein(),
    FGan(),
    FeatureMatching(),
    Relativistic(),
)


def generate(latents: Tensor) -> Tensor:
    """The latent is the sample."""
    return latents.reshape(-1, 1, 1, 2)


def linear(weight: Tensor, bias: float = 0.0) -> Callable[[Tensor], Tensor]:
    """A critic whose logit is weight . x + bias."""
    return lambda samples: samples.flatten(1) @ weight + bias


def curved(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """A critic whose gradient differs from sample to sample."""
    return lambda samples: torch.tanh(samples.flatten(1) * weight).sum(1)


def batch(count: int = 6, seed: int = 0) -> Batch:
    """Random samples, latents and places between samples, in double precision."""
    numbers = torch.Generator().manual_seed(seed)
    real = torch.randn(count, 1, 1, 2, generator=numbers, dtype=torch.float64)
    latents = torch.randn(count, 2, generator=numbers, dtype=torch.float64)
    return Batch(real, latents, between=torch.rand(count, 1, generator=numbers))


def squashed(samples: Tensor) -> Tensor:
    """Features [B, 2] of a critic."""
    return torch.tanh(samples.flatten(1))


def players(critic: Callable[[Tensor], Tensor]) -> Networks:
    """The critic against the generator that passes latents on."""
    return Networks(generate, critic, features=squashed)


def tabular_game(densities: Tensor, logits: Tensor) -> tuple[Networks, Batch]:
    """A game on two points: row i of the batch is point i, weighted by how often it occurs among 100 draws."""
    counts = (densities * 100).round().int()
    points = torch.arange(densities.shape[1])
    real, fake = (points.repeat_interleave(row).double() for row in counts)
    one_hot = torch.eye(densities.shape[1], dtype=torch.float64)

    def critic(samples: Tensor) -> Tensor:
        return one_hot[samples.flatten(1)[:, 0].long()] @ logits

    def point_samples(numbers: Tensor) -> Tensor:
        return torch.stack([numbers, numbers], 1).reshape(-1, 1, 1, 2)

    return Networks(point_samples, critic), Batch(point_samples(real), fake)
