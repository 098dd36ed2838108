"""Codes as callers name them, and as the tensor that a generator takes."""

import numpy as np
import pytest

from service.engine.model_spec import CodeSpec
from service.engine.sampling.codes import code_tensor, misfit

SPEC = CodeSpec((3, 2), ((-1.0, 1.0), (0.0, 10.0)))
FITTING = np.array([[2, 0, 0.5, 7.0], [0, 1, -1.0, 10.0]])


def test_categorical_codes_become_one_hot_and_the_numbers_follow() -> None:
    tensor = code_tensor(FITTING, SPEC)
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [[0, 0, 1, 1, 0, 0.5, 7], [1, 0, 0, 0, 1, -1, 10]]


def test_codes_of_one_sort_only_are_a_tensor_too() -> None:
    assert code_tensor(np.array([[1.0]]), CodeSpec((2,), ())).tolist() == [[0, 1]]
    assert code_tensor(np.array([[0.25]]), CodeSpec((), ((0.0, 1.0),))).tolist() == [[0.25]]


def test_what_fits_has_no_misfit_nor_has_what_is_left_out() -> None:
    assert misfit(FITTING, SPEC) is None
    assert misfit(np.full((2, 4), np.nan), SPEC) is None


@pytest.mark.parametrize(
    ("sample", "code", "value"),
    [(0, 0, 3), (1, 0, -1), (1, 1, 0.5), (0, 2, 1.001), (1, 3, -0.1), (0, 3, np.inf)],
)
def test_a_misfit_is_found_where_it_is(sample: int, code: int, value: float) -> None:
    codes = FITTING.copy()
    codes[sample, code] = value
    assert misfit(codes, SPEC) == (sample, code)
