"""Distances of generated samples in units of the data's own: is there variety, and has the generator come to rest?

    diversity   mean distance of two generated samples / mean distance of two real ones   1: the data's, 0: a point
    unrest      mean distance of G(z) and averaged G(z) for the same z / the same unit    0: at rest

A generator that circles the equilibrium, or hops from mode to mode, is always far from its own moving average; one
that has converged is near it. Both figures are of the samples' numbers (pixels): no network judges them.

Shapes: N samples of ... numbers each.

References:
    Yazici et al., The Unusual Effectiveness of Averaging in GAN Training (2019), section 3: cycling, and the average.
"""

from torch import Tensor

from training.diagnostics.distances import pair_distances


def unit(real: Tensor) -> float:
    """The mean distance of two real samples.

    Args:
        real: [N, ...], N at least 2.

    Returns:
        The distance; 0 if all samples are one.
    """
    return float(pair_distances(real).mean())


def diversity(generated: Tensor, real_unit: float) -> float:
    """How far generated samples are apart.

    Args:
        generated: [N, ...], N at least 2.
        real_unit: above 0.

    Returns:
        1 for the variety of the data, 0 for a point.
    """
    return unit(generated) / real_unit


def unrest(current: Tensor, averaged: Tensor, real_unit: float) -> float:
    """How far the generator is from its moving average.

    Args:
        current: [N, ...] of the generator with the weights of the last step.
        averaged: [N, ...] of the averaged generator, for the same latents.
        real_unit: above 0.

    Returns:
        0 where they agree; about 1 where they have no more in common than two real samples.
    """
    apart = (current.flatten(1).double() - averaged.flatten(1).double()).norm(dim=1)
    return float(apart.mean()) / real_unit
