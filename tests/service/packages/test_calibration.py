"""How a logit is read: the identities that hold for every calibration, and each method's own."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.packages.calibration import Calibration, Ranking
from service.packages.schema import PiecewiseLinear, Platt

LOGITS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)
NUMBERS = st.lists(st.floats(-100, 100), min_size=2, max_size=30)
REFERENCE = Ranking([0.0, 1.0])
ROUNDING = 1e-12  # of percentiles between two quantiles that are nearly one


def platt(slope: float, intercept: float) -> Calibration:
    fit = Platt(
        method="platt",
        slope=slope,
        intercept=intercept,
        fit_samples=2,
        evaluation_samples=2,
        expected_calibration_error=0,
    )
    return Calibration(fit, REFERENCE, REFERENCE)


def knots(logits: tuple[float, ...], log_odds: tuple[float, ...]) -> Calibration:
    fit = PiecewiseLinear(
        method="piecewise_linear",
        logits=logits,
        log_odds=log_odds,
        fit_samples=2,
        evaluation_samples=2,
        expected_calibration_error=0,
    )
    return Calibration(fit, REFERENCE, REFERENCE)


CALIBRATIONS = pytest.mark.parametrize("calibration", [platt(0.7, -0.2), knots((-2, 0, 3), (-4, 0.5, 1))])


@CALIBRATIONS
@given(logits=LOGITS)
def test_the_probability_is_the_odds_that_the_log_density_ratio_says(
    calibration: Calibration, logits: list[float]
) -> None:
    probability, ratio = calibration.probability(logits), calibration.log_density_ratio(logits)
    assert probability.dtype == ratio.dtype == np.float64
    for p, r in zip(probability, ratio, strict=True):
        assert p == pytest.approx(1 / (1 + math.exp(-r)) if r > -500 else 0, rel=1e-12)


@CALIBRATIONS
@given(logits=LOGITS)
def test_a_higher_logit_is_never_less_real(calibration: Calibration, logits: list[float]) -> None:
    ascending = np.sort(logits)
    assert (np.diff(calibration.log_density_ratio(ascending)) >= 0).all()
    assert (np.diff(calibration.probability(ascending)) >= 0).all()


def test_platt_scaling_of_one_and_zero_reads_a_logit_as_the_log_odds_it_is() -> None:
    assert platt(1, 0).probability([0.0])[0] == 0.5
    assert platt(1, 0).log_density_ratio([1.25])[0] == 1.25
    assert platt(2, -1).log_density_ratio([1.25])[0] == 1.5


def test_small_probabilities_keep_their_digits_and_large_logits_do_not_overflow() -> None:
    calibration = platt(1, 0)
    assert calibration.probability([-50.0])[0] == pytest.approx(math.exp(-50), rel=1e-12, abs=0)
    assert calibration.probability([-1e5, 1e5]).tolist() == [0, 1]


def test_between_knots_the_odds_are_linear_and_beyond_them_constant() -> None:
    calibration = knots((-2, 0, 3), (-4, 0.5, 1))
    assert calibration.log_density_ratio([-9, -2, -1, 0, 1.5, 3, 9]).tolist() == [-4, -4, -1.75, 0.5, 0.75, 1, 1]


def test_a_percentile_is_the_share_of_the_reference_below() -> None:
    ranking = Ranking([float(value) for value in range(101)])
    assert ranking.percentile([-1, 0, 12.5, 50, 100, 101]).tolist() == [0, 0, 12.5, 50, 100, 100]


def test_a_value_that_many_of_the_reference_share_stands_in_their_middle() -> None:
    ranking = Ranking([0.0, 1.0, 1.0, 1.0, 2.0])
    assert ranking.percentile([1.0])[0] == 50
    assert Ranking([3.0, 3.0]).percentile([2.9, 3.0, 3.1]).tolist() == [0, 50, 100]


@given(NUMBERS, NUMBERS)
def test_percentiles_ascend_and_stay_within_0_and_100(reference: list[float], numbers: list[float]) -> None:
    ranks = Ranking(sorted(reference)).percentile(np.sort(numbers))
    assert (np.diff(ranks) >= -ROUNDING).all()
    assert ranks.min() >= 0
    assert ranks.max() <= 100


def test_each_percentile_is_of_its_own_reference() -> None:
    calibration = Calibration(platt(1, 0).fit, Ranking([0.0, 10.0]), Ranking([-10.0, 0.0]))
    assert calibration.percentile_real([1.0])[0] == 10
    assert calibration.percentile_generated([-1.0])[0] == 90


@CALIBRATIONS
@given(logits=LOGITS)
def test_the_engine_is_told_the_same_ratio_and_the_highest_generated_logit(
    calibration: Calibration, logits: list[float]
) -> None:
    told = calibration.density_ratio
    assert told.curve.at(logits).tolist() == calibration.log_density_ratio(logits).tolist()
    assert told.ceiling == calibration.log_density_ratio([1.0])[0]  # of REFERENCE
