"""Fréchet and kernel distance between sets of features.

Neither is meaningful without the number of samples, the features and the value for real against real.

Shapes: N, M samples, F features.

References:
    Heusel et al., GANs Trained by a Two Time-Scale Update Rule (2017), equation 6.
    Bińkowski et al., Demystifying MMD GANs (2018), section 4.
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]

BLOCK_ROWS = 1_000  # 80 MB of kernel values against 10,000 samples


def frechet_distance(first: Features, second: Features) -> float:
    """Squared Fréchet (2-Wasserstein) distance between the Gaussians fitted to two sets.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^1/2, where the last trace is the sum of the singular values of
    S1^1/2 S2^1/2. Roots of symmetric matrices and singular values are real whatever the rank; the usual root of S1 S2,
    which is not symmetric, becomes complex with fewer samples than features.

    Args:
        first: [N, F], N at least 2.
        second: [M, F], M at least 2.

    Returns:
        The distance, at least 0 up to rounding.
    """
    mean_gap = first.mean(axis=0) - second.mean(axis=0)
    covariance_1, covariance_2 = _covariance(first), _covariance(second)
    overlap = np.linalg.norm(_symmetric_root(covariance_1) @ _symmetric_root(covariance_2), "nuc")
    return float(mean_gap @ mean_gap + np.trace(covariance_1) + np.trace(covariance_2) - 2 * overlap)


def kernel_distance(first: Features, second: Features) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y/F + 1)^3.

    The whole sets are used, without random subsets.

    Args:
        first: [N, F], N at least 2.
        second: [M, F], M at least 2.

    Returns:
        The estimate; its expectation is 0 for equal distributions, so it may be slightly negative.
    """
    between = _kernel_sum(first, second) / (len(first) * len(second))
    return _mean_within(first) + _mean_within(second) - 2 * between


def _covariance(features: Features) -> Features:
    centred = features - features.mean(axis=0)
    product: Features = centred.T @ centred / (len(features) - 1)
    return product


def _symmetric_root(matrix: Features) -> Features:
    values, vectors = np.linalg.eigh(matrix)
    root: Features = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T  # rounding may leave -1e-17
    return root


def _kernel_sum(first: Features, second: Features) -> float:
    """Sum of the kernel over all pairs."""
    total = 0.0
    for start in range(0, len(first), BLOCK_ROWS):
        similarity = first[start : start + BLOCK_ROWS] @ second.T / first.shape[1] + 1
        total += float(_cube(similarity).sum())
    return total


def _mean_within(features: Features) -> float:
    """Mean of the kernel over pairs of different samples."""
    count = len(features)
    own = float(_cube(np.square(features).mean(axis=1) + 1).sum())
    return (_kernel_sum(features, features) - own) / (count * (count - 1))


def _cube(values: Features) -> Features:
    return values * values * values  # NumPy's power is much slower
