"""Coverage of known modes: what is hit, what is captured, how evenly."""

import math

import numpy as np
import pytest

from training.data.mixtures import GaussianMixtureConfig, Mixture, grid, mixture, ring
from training.evaluation.mixtures import SAMPLES, cover


@pytest.mark.parametrize("law", [ring(), grid()], ids=["ring", "grid"])
def test_the_mixture_itself_reaches_the_ceiling(law: Mixture) -> None:
    modes = len(law.weights)
    found = [cover(law.sample(np.random.default_rng(seed), SAMPLES), law) for seed in range(40)]
    assert {coverage.captured for coverage in found} == {modes}
    shares = np.mean([coverage.high_quality_share for coverage in found])
    assert shares == pytest.approx(1 - math.exp(-9 / 2), abs=0.001)
    divergence = np.mean([coverage.reverse_kl for coverage in found])
    assert divergence == pytest.approx((modes - 1) / (2 * SAMPLES), rel=0.2)


def test_three_deviations_bound_what_is_of_high_quality() -> None:
    inside, outside = 1 + 0.0299, 1 + 0.0301
    found = cover(np.array([[inside, 0.0], [outside, 0.0], [0.0, 0.0]]), ring())
    assert found.high_quality_share == 1 / 3
    assert found.histogram == (1, 0, 0, 0, 0, 0, 0, 0)


def test_one_mode_alone_diverges_by_log_m() -> None:
    found = cover(np.tile([[1.0, 0.0]], (9, 1)), ring())
    assert found.captured == 1
    assert found.reverse_kl == pytest.approx(math.log(8))


def test_modes_left_out_cost_the_logarithm_of_what_is_left() -> None:
    found = cover(np.repeat(grid().means[:20], 3, axis=0), grid())
    assert found.captured == 20
    assert found.reverse_kl == pytest.approx(math.log(25 / 20))


def test_samples_off_every_mode_count_as_the_worst_there_is() -> None:
    found = cover(np.zeros((5, 2)) + 1, grid())
    assert (found.captured, found.high_quality_share) == (0, 0.0)
    assert found.reverse_kl == pytest.approx(math.log(25))


def test_uneven_modes_are_measured_in_their_own_deviations_and_weights() -> None:
    law = mixture(GaussianMixtureConfig(weights=(0.25, 0.75), means=(0.0, 10.0), deviations=(0.1, 4.0)))
    samples = np.array([[0.05], [0.5], [4.0], [16.0]])  # the second is far from the narrow mode, near the wide one
    found = cover(samples, law)
    assert found.histogram == (1, 3)
    assert found.reverse_kl == pytest.approx(0, abs=1e-12)
