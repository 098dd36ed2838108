"""What several measurements say together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.results import Spread, quantile, spread

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert spread([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.995, 100.0), (1.0, 100.0)])
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([float(value) for value in range(100, 0, -1)], share) == expected


@settings(deadline=None)
@given(VALUES, st.floats(0.01, 1))
def test_at_least_the_share_lies_at_or_below_a_quantile(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9
