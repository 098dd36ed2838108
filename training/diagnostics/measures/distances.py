"""Euclidean distances among the samples of a probe, exact enough that a repeated sample is at distance zero.

|x - y|^2 = |x|^2 + |y|^2 - 2 x.y in double precision: single precision would have errors of the size of the distances
between near duplicates. They are computed where the samples are.

Shapes: N and M samples of ... numbers each.
"""

import torch
from torch import Tensor


def distances(left: Tensor, right: Tensor) -> Tensor:
    """Compute the distances between two sets.

    Args:
        left: [N, ...].
        right: [M, ...].

    Returns:
        [N, M] float64.
    """
    one, other = left.flatten(1).double(), right.flatten(1).double()
    squares = one.square().sum(1)[:, None] + other.square().sum(1)[None, :] - 2 * one @ other.T
    return squares.clamp_(min=0).sqrt_()


def pair_distances(samples: Tensor) -> Tensor:
    """Compute the distances between all pairs of one set.

    Args:
        samples: [N, ...], N at least 2.

    Returns:
        [N (N - 1) / 2] float64.
    """
    rows, columns = torch.triu_indices(len(samples), len(samples), offset=1, device=samples.device)
    return distances(samples, samples)[rows, columns]


def nearest(samples: Tensor, others: Tensor) -> Tensor:
    """Compute the distance of each sample to the nearest of others.

    Args:
        samples: [N, ...].
        others: [M, ...].

    Returns:
        [N] float64.
    """
    return distances(samples, others).min(dim=1).values
