"""Distances of generated samples in units of the data's own: diversity, unrest, and distance to the data.

    diversity      mean distance of two generated samples / mean distance of two real ones   1: the data's, 0: a point
    unrest         mean distance of G(z) and averaged G(z) for the same z / the same unit    0: at rest
    real_distance  median distance of a sample to the nearest real one / that among real ones    1: as near
    near_real      share of samples as near to a real one as 99 of 100 real ones are             0.99: as near, 0: noise

A generator that circles the equilibrium, or jumps from mode to mode, is always far from its own moving average; one
that has converged is near it. Distances are of the samples' values (pixels), without a network.

Shapes: N samples of ... numbers each.

References:
    Yazici et al., The Unusual Effectiveness of Averaging in GAN Training (2019), section 3: cycling, and the average.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.diagnostics.measures.distances import distances, nearest, pair_distances

NEAR_QUANTILE: Final = 0.99  # of real samples are as near to another real one


@dataclass(frozen=True)
class Neighbourhood:
    """Real samples with the distances among them.

    Attributes:
        real: [N, ...].
        usual: median distance of one to the nearest other.
        farthest: the distance that 99 of 100 are within.
    """

    real: Tensor
    usual: float
    farthest: float

    def near(self, samples: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Compare samples with them.

        Args:
            samples: [M, ...].

        Returns:
            Which are near, [M] bool; and `near_real`, their share, with `real_distance`, unless real samples coincide.
        """
        apart = nearest(samples, self.real)
        within = apart <= self.farthest
        found = {"near_real": float(within.double().mean())}
        if self.usual > 0:
            found["real_distance"] = float(apart.median()) / self.usual
        return within, found


def neighbourhood(real: Tensor) -> Neighbourhood:
    """Compute the distances among real samples.

    Args:
        real: [N, ...], N at least 2.

    Returns:
        The samples with their distances.
    """
    apart = distances(real, real).fill_diagonal_(torch.inf).min(dim=1).values
    return Neighbourhood(real, float(apart.median()), float(apart.quantile(NEAR_QUANTILE)))


def unit(real: Tensor) -> float:
    """The mean distance of two real samples.

    Args:
        real: [N, ...], N at least 2.

    Returns:
        The distance; 0 if all samples are equal.
    """
    return float(pair_distances(real).mean())


def diversity(apart: Tensor, real_unit: float) -> float:
    """Compute the mean distance of generated samples, in units of the data's.

    Args:
        apart: the distances of all pairs of them.
        real_unit: above 0.

    Returns:
        1 for the diversity of the data, 0 for a point.
    """
    return float(apart.mean()) / real_unit


def unrest(current: Tensor, averaged: Tensor, real_unit: float) -> float:
    """Compute the mean distance of the generator from its moving average, in units of the data's.

    Args:
        current: [N, ...] of the generator with the weights of the last step.
        averaged: [N, ...] of the averaged generator, for the same latents.
        real_unit: above 0.

    Returns:
        0 where they agree; about 1 where they are as unrelated as two real samples.
    """
    apart = (current.flatten(1).double() - averaged.flatten(1).double()).norm(dim=1)
    return float(apart.mean()) / real_unit
