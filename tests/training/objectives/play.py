"""Players for objectives: networks so simple that losses can be computed by hand.

Shapes: samples are [B, 1, 1, 2], two numbers each; latents are [B, 2] and the generator passes them on.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from training.objectives import Minimax, NonSaturating, Relativistic
from training.objectives.port import Batch, Networks

OBJECTIVES: Final = (Minimax(), NonSaturating(), Relativistic())


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
    """Random samples and latents, in double precision."""
    numbers = torch.Generator().manual_seed(seed)
    real = torch.randn(count, 1, 1, 2, generator=numbers, dtype=torch.float64)
    return Batch(real, torch.randn(count, 2, generator=numbers, dtype=torch.float64))


def players(critic: Callable[[Tensor], Tensor]) -> Networks:
    """The critic against the generator that passes latents on."""
    return Networks(generate, critic)
