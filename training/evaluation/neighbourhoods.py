"""Precision, recall, density and coverage: are the samples good, and are they all there?

Every sample of a set has a ball that reaches to its k-th nearest neighbour within the set; their union estimates the
set's support.

    precision   share of generated samples inside a real ball            samples look real
    density     how many real balls a generated sample is in, over k     the same, robust to outlying real samples
    recall      share of real samples inside a generated ball            everything real can be generated
    coverage    share of real balls with a generated sample inside       the same, robust to outlying generated samples

Distances are computed in blocks of rows, so memory grows with the number of samples and not with its square.

Shapes: N generated and M real samples, F features.

References:
    Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models (2019), equations 1-3.
    Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models (2020), equations 5 and 7.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.distances import Features

NEIGHBOURS = 5  # k of Naeem et al.
BLOCK_ROWS = 1_000  # 80 MB of distances against 10,000 samples


@dataclass(frozen=True)
class Neighbourhoods:
    """The four figures; all but `density` lie in [0, 1], density has expectation 1 for equal distributions."""

    precision: float
    recall: float
    density: float
    coverage: float


def compare(generated: Features, real: Features, neighbours: int = NEIGHBOURS) -> Neighbourhoods:
    """Compare two sets by their samples' neighbourhoods.

    Args:
        generated: [N, F], N above `neighbours`.
        real: [M, F], M above `neighbours`.
        neighbours: k, which sets the balls' radii.
    """
    real_radii, generated_radii = _radii(real, neighbours), _radii(generated, neighbours)
    balls_entered = 0
    generated_inside = 0
    reached = np.zeros(len(real), dtype=bool)
    covered = np.zeros(len(real), dtype=bool)
    for rows, distances in _distance_blocks(generated, real):
        inside = distances < real_radii
        balls_entered += int(inside.sum())
        generated_inside += int(inside.any(axis=1).sum())
        covered |= inside.any(axis=0)
        reached |= (distances < generated_radii[rows, np.newaxis]).any(axis=0)
    return Neighbourhoods(
        precision=generated_inside / len(generated),
        recall=float(reached.mean()),
        density=balls_entered / (neighbours * len(generated)),
        coverage=float(covered.mean()),
    )


def _radii(features: Features, neighbours: int) -> NDArray[np.float64]:
    """[N] squared distances to the k-th nearest other sample (the nearest of all is the sample itself)."""
    blocks = [
        np.partition(distances, neighbours, axis=1)[:, neighbours]
        for _, distances in _distance_blocks(features, features)
    ]
    return np.concatenate(blocks)


def _distance_blocks(first: Features, second: Features) -> Iterator[tuple[slice, Features]]:
    """Squared distances, a block of rows at a time; |x - y|^2 = |x|^2 + |y|^2 - 2 x.y."""
    second_norms = np.square(second).sum(axis=1)
    for start in range(0, len(first), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        norms = np.square(first[rows]).sum(axis=1)[:, np.newaxis]
        yield rows, (norms + second_norms - 2 * first[rows] @ second.T).clip(min=0)
