"""The range grammar: what is written is read back, in order, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.limits import MAX_SEED
from service.api.requests.fields import read_ranges, write_ranges

SEEDS = st.integers(0, MAX_SEED)
RUNS = st.tuples(st.integers(0, MAX_SEED - 100), st.integers(0, 100)).map(
    lambda run: range(run[0], run[0] + run[1] + 1)
)


@given(st.lists(st.one_of(SEEDS.map(lambda seed: range(seed, seed + 1)), RUNS), min_size=1, max_size=20))
def test_what_is_written_is_read_back_in_its_order(runs: list[range]) -> None:
    seeds = np.array([seed for run in runs for seed in run], dtype=np.uint64)
    read = read_ranges(write_ranges(seeds))
    assert read.count == len(seeds)
    assert np.array_equal(read.expand(), seeds)


def test_neighbours_become_one_range() -> None:
    assert write_ranges(np.array([5, 6, 7, 99, 0], dtype=np.uint64)) == "5-7,99,0"


def test_blanks_around_numbers_are_read() -> None:
    assert read_ranges(" 0 - 3 , 99 ").ranges == ((0, 3), (99, 99))


def test_a_range_is_counted_without_being_written_out() -> None:
    assert read_ranges(f"0-{MAX_SEED}").count == MAX_SEED + 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither a seed nor a range"),
        ("1,,2", "neither a seed nor a range"),
        ("-5", "neither a seed nor a range"),
        ("1-", "neither a seed nor a range"),
        ("1.5", "neither a seed nor a range"),
        ("٣", "neither a seed nor a range"),
        ("9-3", "runs backwards"),
        (str(MAX_SEED + 1), "at most"),
        ("9" * 20, "neither a seed nor a range"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_ranges(text)
