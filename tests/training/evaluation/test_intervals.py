"""Intervals: as wide as a figure varies from one set of samples to the next."""

import numpy as np
import pytest

from training.evaluation.intervals import MOST_ROWS, intervals

NORMAL_90 = 1.645  # standard deviations to either side


@pytest.mark.parametrize("size", [300, 20 * MOST_ROWS])
def test_a_means_interval_is_that_of_its_standard_error(size: int) -> None:
    values = np.random.default_rng(0).normal(5, 2, size)
    low, high = intervals(lambda rows, _: {"mean": float(values[rows].mean())}, size, size)["mean"]
    assert (high - low) / 2 == pytest.approx(NORMAL_90 * 2 / np.sqrt(size), rel=0.3)
    assert abs(high + low) < high - low


def test_both_sets_are_drawn_from() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 400))
    found = intervals(lambda rows, others: {"gap": float(first[rows].mean() - second[others].mean())}, 400, 400)
    low, high = found["gap"]
    assert (high - low) / 2 == pytest.approx(NORMAL_90 * np.sqrt(2 / 400), rel=0.3)


def test_the_same_sets_have_the_same_intervals() -> None:
    values = np.random.default_rng(0).normal(size=100)
    first, second = (intervals(lambda rows, _: {"mean": float(values[rows].mean())}, 100, 100) for _ in range(2))
    assert first == second


def test_no_row_is_drawn_twice_into_a_part() -> None:
    def different(rows: np.ndarray, others: np.ndarray) -> dict[str, float]:
        assert len(set(rows.tolist())) == len(rows) == 50
        assert len(set(others.tolist())) == len(others) == 35
        return {}

    assert intervals(different, 100, 70) == {}
