"""Schedules: values at the ends, and what a half-life means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import cosine, ema_decay


def test_a_cosine_begins_and_ends_where_it_should() -> None:
    assert cosine(3.0, 1.0, 0.0) == pytest.approx(3.0)
    assert cosine(3.0, 1.0, 0.5) == pytest.approx(2.0)
    assert cosine(3.0, 1.0, 1.0) == pytest.approx(1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_cosine_only_falls(one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert cosine(1.0, 0.1, earlier) >= cosine(1.0, 0.1, later)


@given(st.integers(1, 512))
def test_after_a_half_life_half_of_the_average_is_old(batch_size: int) -> None:
    half_life = 100 * batch_size
    assert ema_decay(batch_size, half_life, samples_seen=10**9) ** 100 == pytest.approx(0.5)


def test_early_on_the_half_life_is_a_twentieth_of_the_time_so_far() -> None:
    assert ema_decay(64, 50_000, samples_seen=64_000) == pytest.approx(0.5 ** (64 / 3_200))


def test_without_a_half_life_nothing_is_averaged() -> None:
    assert ema_decay(64, 0, samples_seen=10_000) == 0
