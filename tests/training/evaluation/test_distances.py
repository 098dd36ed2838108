"""Distances between sets of features: closed forms, brute force, and what must hold for equal distributions."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from training.evaluation.distances import frechet_distance, kernel_distance

Array = NDArray[np.float64]


def cloud(mean: Array, factor: Array, count: int = 400, seed: int = 0) -> Array:
    """Samples whose empirical mean and covariance are exactly `mean` and `factor` times its transpose."""
    raw = np.random.default_rng(seed).standard_normal((count, len(mean)))
    centred = raw - raw.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(centred.T @ centred / (count - 1))).T
    result: Array = mean + white @ factor.T
    return result


def test_frechet_distance_of_gaussians_with_parallel_axes_is_the_closed_form() -> None:
    first = cloud(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 2.0, 3.0]))
    second = cloud(np.array([3.0, 1.0, -2.0]), np.diag([2.0, 0.5, 3.0]), seed=1)
    means, deviations = 3**2 + 4**2, 1**2 + 1.5**2
    assert frechet_distance(first, second) == pytest.approx(means + deviations, rel=1e-10)


def test_frechet_distance_of_any_gaussians_is_the_matrix_formula() -> None:
    chance = np.random.default_rng(2)
    factor_1, factor_2 = chance.standard_normal((2, 5, 5))
    first, second = cloud(np.zeros(5), factor_1), cloud(np.ones(5), factor_2, seed=3)
    covariance_1, covariance_2 = factor_1 @ factor_1.T, factor_2 @ factor_2.T
    expected = 5 + np.trace(covariance_1 + covariance_2 - 2 * sqrtm(covariance_1 @ covariance_2).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_is_real_and_zero_for_equal_sets_with_fewer_samples_than_features() -> None:
    few = np.random.default_rng(4).standard_normal((10, 64))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(few, few + 1) == pytest.approx(64, rel=1e-6)


def test_frechet_distance_survives_features_that_are_always_zero() -> None:
    dead = cloud(np.zeros(3), np.eye(3))
    dead[:, 1] = 0
    assert frechet_distance(dead, dead + np.array([0, 2, 0])) == pytest.approx(4, rel=1e-9)


def test_kernel_distance_is_the_mean_over_pairs_of_different_samples() -> None:
    chance = np.random.default_rng(5)
    first, second = chance.standard_normal((7, 4)), chance.standard_normal((5, 4)) + 1

    def kernel(x: Array, y: Array) -> float:
        return float((x @ y / 4 + 1) ** 3)

    def within(rows: Array) -> float:
        return float(np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]))

    between = np.mean([kernel(x, y) for x in first for y in second])
    assert kernel_distance(first, second) == pytest.approx(within(first) + within(second) - 2 * between, rel=1e-10)


def test_kernel_distance_does_not_depend_on_the_order_of_more_samples_than_fit_one_block() -> None:
    chance = np.random.default_rng(6)
    first, second = chance.standard_normal((2_300, 3)), chance.standard_normal((1_200, 3))
    assert kernel_distance(first[::-1], second) == pytest.approx(kernel_distance(first, second), abs=1e-9)


def test_kernel_distance_of_equal_distributions_is_zero_on_average() -> None:
    chance = np.random.default_rng(7)
    estimates = [kernel_distance(*chance.standard_normal((2, 60, 4))) for _ in range(200)]
    assert abs(np.mean(estimates)) < 4 * np.std(estimates) / np.sqrt(200)
    assert min(estimates) < 0 < max(estimates)
