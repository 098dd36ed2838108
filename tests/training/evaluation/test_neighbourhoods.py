"""Precision, recall, density, coverage on sets whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.neighbourhoods import Neighbourhoods, compare


def normal(count: int, features: int = 6, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((count, features))


def test_identical_sets_score_one() -> None:
    found = compare(normal(300), normal(300))
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1, abs=0.01)  # a radius is itself a distance, and rounds either way


def test_sets_far_apart_score_zero() -> None:
    assert compare(normal(300), normal(300, seed=1) + 100) == Neighbourhoods(
        precision=0, recall=0, density=0, coverage=0
    )


def test_two_sets_of_one_distribution_score_nearly_alike() -> None:
    found = compare(normal(1_500), normal(1_500, seed=1))
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage > 0.9
    assert found.precision == pytest.approx(found.recall, abs=0.05)


def test_a_collapsed_generator_is_precise_and_reaches_nothing() -> None:
    real = normal(300)
    centre = real[np.square(real).sum(axis=1).argmin()]
    found = compare(centre + 1e-6 * normal(300, seed=1), real)
    assert found.precision == 1
    assert found.recall <= 1 / 300  # the sample that it collapsed to
    assert found.coverage < 0.2


def test_samples_of_half_the_modes_cover_half() -> None:
    modes = np.repeat([[0.0] * 6, [50.0] * 6], 200, axis=0)
    found = compare(normal(400, seed=1), normal(400) + modes)
    assert found.precision > 0.7
    assert 0.4 < found.coverage <= 0.5
    assert found.recall <= 0.5


def test_one_outlying_real_sample_buys_noise_precision_but_hardly_density() -> None:
    real = np.concatenate([normal(300), [[300.0] * 6]])
    noise = np.random.default_rng(1).uniform(0, 100, (300, 6))
    found = compare(noise, real)
    assert found.precision > 0.9
    assert found.density == pytest.approx(found.precision / 5, rel=0.05)
    assert found.coverage < 0.05


def test_blocks_change_nothing() -> None:
    generated, real, neighbours = normal(1_300, features=2), normal(1_100, features=2, seed=1) + 0.5, 3
    distances = np.linalg.norm(generated[:, np.newaxis] - real, axis=2)

    def radii(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        own = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
        return np.sort(own, axis=1)[:, neighbours]

    in_real, in_generated = distances < radii(real), distances < radii(generated)[:, np.newaxis]
    found = compare(generated, real, neighbours)
    assert found.precision == pytest.approx(in_real.any(axis=1).mean(), abs=1e-12)
    assert found.recall == pytest.approx(in_generated.any(axis=0).mean(), abs=1e-12)
    assert found.density == pytest.approx(in_real.sum() / (3 * 1_300), abs=1e-12)
    assert found.coverage == pytest.approx(in_real.any(axis=0).mean(), abs=1e-12)
