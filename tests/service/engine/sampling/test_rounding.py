"""Fifty digits, rounded once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.sampling import rounding

# What the sampler feeds it: odd multiples of 2⁻⁵³ inside (0, 1).
uniform = st.integers(0, 2**52 - 1).map(lambda k: (k + 0.5) * 2.0**-52)
HALF_A_FLOAT32_STEP = 2.0**-24
FLOAT64_ERROR = 1e-14  # near a zero of cosine or logarithm float64 knows only the absolute size


def is_nearest(coordinate: np.float32, value: float) -> bool:
    return abs(float(coordinate) - value) <= abs(value) * HALF_A_FLOAT32_STEP + FLOAT64_ERROR


@given(u1=uniform, u2=uniform)
def test_a_normal_pair_is_the_float32_nearest_to_what_float64_finds(u1: float, u2: float) -> None:
    radius, angle = math.sqrt(-2 * math.log(u1)), 2 * math.pi * u2
    cosine, sine = rounding.normal(u1, u2)
    assert is_nearest(cosine, radius * math.cos(angle))
    assert is_nearest(sine, radius * math.sin(angle))


@given(u=uniform)
def test_a_gumbel_coordinate_is_the_float32_nearest_to_what_float64_finds(u: float) -> None:
    assert is_nearest(rounding.gumbel(u), -math.log(-math.log(u)))


def test_a_coordinate_near_a_cosines_zero_keeps_all_its_digits() -> None:
    """cos(2π(1/4 + δ)) = −sin(2πδ): the true value is −2πδ to 30 digits, where float64's own cosine has 4."""
    delta = 2.0**-53
    cosine, _ = rounding.normal(math.exp(-0.5), 0.25 + delta)
    radius = math.sqrt(-2 * math.log(math.exp(-0.5)))
    assert float(cosine) == pytest.approx(-2 * math.pi * delta * radius, rel=HALF_A_FLOAT32_STEP * 1.001)


@pytest.mark.parametrize(
    ("u", "rounded_once"),
    [
        ("0x1.334c3728140bfp-1", "0x1.583e3ap-1"),
        ("0x1.42ee9c26691f3p-1", "0x1.8c99eep-1"),
        ("0x1.5d108eb121cd5p-1", "0x1.eb4966p-1"),
        ("0x1.4b13de2ac7e37p-1", "0x1.a90d0ep-1"),
        ("0x1.2059b0208231dp-1", "0x1.1c1792p-1"),
    ],
)
def test_a_value_next_to_the_middle_of_two_float32_is_rounded_once(u: str, rounded_once: str) -> None:
    """Found by search: float64 rounds each to the very middle, and a second rounding goes the wrong way.

    The first lies 10⁻²¹ beside the middle: 20 digits would not tell its side either.
    """
    assert rounding.gumbel(float.fromhex(u)) == float.fromhex(rounded_once)


def test_the_result_is_a_float32() -> None:
    assert isinstance(rounding.gumbel(0.3), np.float32)
    assert all(isinstance(coordinate, np.float32) for coordinate in rounding.normal(0.3, 0.7))
