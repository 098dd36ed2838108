"""Codes by name: what a caller writes becomes the engine's row, and what the engine answers gets its names back."""

import numpy as np
import pytest

from service.api.requests.fields import name_codes, read_codes
from service.api.responses.readings import name_readings
from service.errors import InvalidRequest
from service.packages.schema import CategoricalCode, Codes, ContinuousCode

CODES = Codes(
    categorical=(CategoricalCode(name="digit", size=3), CategoricalCode(name="font", size=2)),
    continuous=(ContinuousCode(name="slant", low=-1.0, high=1.0),),
)


def test_one_object_is_for_all_samples_and_what_it_leaves_out_is_left_out() -> None:
    rows = read_codes({"slant": 0.5, "digit": 2}, CODES, count=2)
    np.testing.assert_array_equal(rows, [[2, np.nan, 0.5]] * 2)


def test_a_list_is_one_object_a_sample() -> None:
    rows = read_codes([{"digit": 1}, {}, {"font": 1, "slant": -1}], CODES, count=3)
    np.testing.assert_array_equal(rows, [[1, np.nan, np.nan], [np.nan] * 3, [np.nan, 1, -1]])


def test_no_codes_are_no_rows() -> None:
    assert read_codes(None, CODES, count=2) is None
    assert read_codes(None, None, count=2) is None


@pytest.mark.parametrize(
    ("given", "loc", "words"),
    [
        ({"digt": 1}, ["digt"], "no code of this name; there are: digit, font, slant"),
        ({"digit": 3}, ["digit"], "an integer from 0 to 2"),
        ({"digit": -1}, ["digit"], "an integer from 0 to 2"),
        ({"digit": 1.0}, ["digit"], "an integer from 0 to 2"),
        ({"slant": 1.01}, ["slant"], "a number from -1 to 1"),
        ({"slant": 10**400}, ["slant"], "a number from -1 to 1"),
        ([{"digit": 1}, {"slant": -2}], [1, "slant"], "a number from -1 to 1"),
        ([{"digit": 1}], [], "there are 1 objects for 2 samples"),
    ],
)
def test_a_code_that_does_not_exist_is_refused_with_its_place_and_what_there_is(
    given: dict[str, float] | list[dict[str, float]], loc: list[str | int], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as refusal:
        read_codes(given, CODES, count=2)
    assert refusal.value.problems[0].loc == ("body", "codes", *loc)


def test_a_package_without_codes_takes_none() -> None:
    with pytest.raises(InvalidRequest, match="no codes are taken here"):
        read_codes({"digit": 1}, None, count=1)


def test_used_codes_are_named_as_a_caller_would_name_them() -> None:
    named = name_codes([2.0, 0.0, 0.25], CODES)
    assert named == {"digit": 2, "font": 0, "slant": 0.25}
    assert isinstance(named["digit"], int)
    np.testing.assert_array_equal(read_codes(named, CODES, count=1), [[2, 0, 0.25]])


def test_a_reading_has_the_likeliest_value_and_every_probability() -> None:
    readings = name_readings([0.1, 0.2, 0.7, 0.6, 0.4, -0.3], CODES)
    assert {name: value if isinstance(value, float) else value.model_dump() for name, value in readings.items()} == {
        "digit": {"value": 2, "probabilities": [0.1, 0.2, 0.7]},
        "font": {"value": 0, "probabilities": [0.6, 0.4]},
        "slant": -0.3,
    }
