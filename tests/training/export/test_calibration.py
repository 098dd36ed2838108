"""Calibration on densities whose ratio is known, and where there is little to know."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from training.export.calibration import (
    PiecewiseLinear,
    Platt,
    area_under_curve,
    calibrate,
    expected_calibration_error,
    fit_piecewise_linear,
    fit_platt,
    quantiles,
)

Array = NDArray[np.float64]
COUNT = 20_000


def ratios(count: int = COUNT, seed: int = 0) -> tuple[Array, Array]:
    """Draw log p/q of samples of p = N(1, 1) and of q = N(-1, 1): it is 2x."""
    chance = np.random.default_rng(seed)
    return 2 * chance.normal(1, 1, count), 2 * chance.normal(-1, 1, count)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (5.0, 0.0), (0.01, 3.0), (2.0, 500.0), (1.0, -1e6)])
def test_platt_recovers_the_density_ratio_from_logits_of_any_scale_and_shift(scale: float, shift: float) -> None:
    real, generated = ratios()
    calibration = calibrate(scale * real + shift, scale * generated + shift)
    exact = np.linspace(-4, 4, 9)
    assert isinstance(calibration.curve, Platt)
    assert calibration.curve.log_odds(scale * exact + shift) == pytest.approx(exact, abs=0.15)
    assert calibration.expected_calibration_error < 0.02
    assert calibration.fit_samples == calibration.evaluation_samples == COUNT


@pytest.mark.parametrize("bend", [np.cbrt, lambda ratio: np.sinh(ratio / 2), lambda ratio: np.maximum(ratio, -1)])
def test_a_bent_logit_gets_a_curve_that_recovers_the_density_ratio(bend: Callable[[Array], Array]) -> None:
    real, generated = ratios()
    calibration = calibrate(bend(real), bend(generated))
    assert isinstance(calibration.curve, PiecewiseLinear)
    exact = np.linspace(-0.5, 3, 8)
    assert calibration.curve.log_odds(bend(exact)) == pytest.approx(exact, abs=0.35)
    assert calibration.expected_calibration_error < 0.02


def test_the_simpler_map_wins_where_the_other_is_not_clearly_better() -> None:
    assert all(isinstance(calibrate(*ratios(2_000, seed)).curve, Platt) for seed in range(5))


def test_the_halves_do_not_follow_the_order_of_the_files() -> None:
    real, generated = ratios()
    ordered = calibrate(np.sort(real), np.sort(generated))
    assert ordered.expected_calibration_error < 0.02


def test_samples_that_a_threshold_separates_get_finite_odds() -> None:
    real, generated = np.linspace(1, 2, 200), np.linspace(-2, -1, 200)
    calibration = calibrate(real, generated)
    most = math.log((100 + 1) / 1)  # what one hundred samples of one kind can say, by Platt's targets
    assert calibration.area_under_curve == 1
    assert 2 < calibration.curve.log_odds(np.array([1.5]))[0] < 2 * most
    assert calibration.expected_calibration_error < 0.02


def test_a_curve_claims_no_more_than_a_bin_can_support() -> None:
    logits = np.concatenate([np.linspace(1, 2, 500), np.linspace(-2, -1, 500)])
    curve = fit_piecewise_linear(logits, np.arange(1_000) < 500)
    assert curve is not None
    most = math.log(50.5 / 0.5)  # twenty bins of fifty, half a sample added to either side
    assert curve.values[0] == pytest.approx(-most)
    assert curve.values[-1] == pytest.approx(most)
    assert curve.log_odds(np.array([-1e9, 1e9])) == pytest.approx([-most, most])


def test_knots_ascend_strictly_and_odds_never_descend() -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=2_000).round(1)  # many ties, and no relation to the truth
    curve = fit_piecewise_linear(logits, chance.random(2_000) < 0.5)
    assert curve is not None
    assert len(curve.knots) > 5
    assert (np.diff(curve.knots) > 0).all()
    assert (np.diff(curve.values) >= 0).all()


def test_a_discriminator_that_ranks_the_wrong_way_round_is_worth_nothing() -> None:
    real, generated = ratios()
    calibration = calibrate(-real, -generated)
    assert calibration.area_under_curve < 0.1
    assert calibration.probability(np.array([-9.0, 0.0, 9.0])) == pytest.approx(0.5, abs=0.02)
    assert calibration.log_loss == pytest.approx(math.log(2), abs=0.01)


def test_a_constant_discriminator_says_one_half() -> None:
    calibration = calibrate(np.full(100, 3.0), np.full(100, 3.0))
    assert calibration.probability(np.array([3.0])) == pytest.approx(0.5)
    assert calibration.area_under_curve == 0.5


def test_few_samples_or_one_logit_make_no_curve() -> None:
    assert fit_piecewise_linear(np.arange(99.0), np.arange(99) % 2 == 0) is None
    assert fit_piecewise_linear(np.zeros(1_000), np.arange(1_000) % 2 == 0) is None


def test_different_counts_are_not_an_even_prior() -> None:
    with pytest.raises(ValueError, match="10 real and 12 generated"):
        calibrate(np.arange(10.0), np.arange(12.0))


def test_platt_is_the_maximum_of_the_smoothed_likelihood() -> None:
    real, generated = ratios(300)
    logits, truth = np.concatenate([real, generated]), np.arange(600) < 300
    fit = fit_platt(logits, truth)
    target = np.where(truth, 301 / 302, 1 / 302)
    residual = 1 / (1 + np.exp(-fit.log_odds(logits))) - target
    assert abs(residual.mean()) < 1e-5
    assert abs((residual * logits).mean()) < 1e-4


def test_calibration_error_is_the_gap_between_said_and_seen() -> None:
    truth = np.arange(1_000) % 10 < 7
    assert expected_calibration_error(np.full(1_000, 0.5), truth) == pytest.approx(0.2)
    said = np.concatenate([np.full(500, 0.2), np.full(500, 0.9)])
    seen = np.concatenate([np.arange(500) % 10 < 3, np.arange(500) % 10 < 8])
    assert expected_calibration_error(said, seen) == pytest.approx(0.1)


def test_calibration_error_of_the_truth_itself_is_what_chance_makes() -> None:
    chance = np.random.default_rng(2)
    said = chance.random(10_000)
    assert expected_calibration_error(said, chance.random(10_000) < said) < 0.02


def test_area_under_curve_counts_pairs_and_half_of_the_ties() -> None:
    chance = np.random.default_rng(3)
    real, generated = chance.integers(0, 6, 40) + 1.0, chance.integers(0, 6, 30) * 1.0
    pairs = np.mean([(x > y) + (x == y) / 2 for x in real for y in generated])
    assert area_under_curve(real, generated) == pytest.approx(pairs)


def test_quantiles_stand_at_whole_percents() -> None:
    assert quantiles(np.arange(1_001, dtype=np.float32)) == pytest.approx([10 * percent for percent in range(101)])
