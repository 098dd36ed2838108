"""Codes against classes: the matching, and what each figure forgives."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.codes import Codes, code_accuracy, factor_agreement

LABELS = np.repeat(np.arange(4), 25)


def sure(categories: NDArray[np.int64], count: int = 4) -> NDArray[np.float64]:
    return np.equal(categories[:, None], np.arange(count)).astype(np.float64)


def test_the_names_of_the_categories_do_not_matter() -> None:
    found = code_accuracy(sure(np.array([2, 0, 3, 1])[LABELS]), LABELS)
    assert (found.one_to_one, found.majority) == (1.0, 1.0)
    assert found.classes == (1, 3, 0, 2)


def test_a_merged_and_a_split_class_cost_one_to_one_more_than_by_majority() -> None:
    categories = LABELS.copy()
    categories[LABELS == 1] = 0  # classes 0 and 1 merged
    categories[(LABELS == 3) & (np.arange(100) % 5 < 2)] = 1  # class 3 split, two fifths of it
    found = code_accuracy(sure(categories), LABELS)
    assert found.one_to_one == pytest.approx(1 - 0.25 - 0.1)
    assert found.majority == pytest.approx(1 - 0.25)


def test_the_matching_is_the_best_one_and_not_the_greedy_one() -> None:
    labels = np.repeat([0, 1], [60, 40])
    categories = np.concatenate([np.repeat([0, 1], [31, 29]), np.repeat([0, 1], [30, 10])])
    assert code_accuracy(sure(categories, 2), labels).one_to_one == pytest.approx(0.59)  # 29 + 30, greedily 31 + 10


def test_more_categories_than_classes_leave_some_without_one() -> None:
    found = code_accuracy(sure(LABELS, 6), LABELS)
    assert found.classes == (0, 1, 2, 3, -1, -1)


def test_uninformed_categories_reach_chance() -> None:
    numbers = np.random.default_rng(0)
    labels = numbers.integers(10, size=20_000)
    found = code_accuracy(numbers.random((20_000, 10)), labels)
    assert 0.1 <= found.one_to_one <= found.majority < 0.12


CODES = Codes(categorical={"colour": 4, "shape": 2}, continuous={"across": (-1, 1), "down": (-1, 1)})


def test_a_factor_is_told_by_whichever_code_tells_it_in_whichever_direction() -> None:
    numbers = np.random.default_rng(0)
    colour, shape = numbers.integers(4, size=400), numbers.integers(2, size=400)
    x, y = numbers.random((2, 400))
    readings = np.hstack([sure(3 - colour), sure(shape, 2), -np.exp(y)[:, None], x[:, None] ** 3])
    found = factor_agreement(CODES, readings, {"shape": shape, "colour": colour}, {"x": x, "y": y})
    assert found == pytest.approx({"shape": 1, "colour": 1, "x": 1, "y": 1})


def test_codes_that_read_the_same_factor_are_one_code_for_it_and_none_for_another() -> None:
    numbers = np.random.default_rng(0)
    x, y = numbers.random((2, 4_000))
    readings = np.hstack([numbers.random((4_000, 6)), x[:, None], x[:, None]])
    found = factor_agreement(CODES, readings, {"shape": numbers.integers(2, size=4_000)}, {"x": x, "y": y})
    assert found["x"] == pytest.approx(1)
    assert found["y"] < 0.06
    assert 0.5 <= found["shape"] < 0.55


def test_a_factor_without_a_code_of_its_own_and_a_constant_reading_count_as_nothing() -> None:
    x, y, z = np.random.default_rng(0).random((3, 100))
    readings = np.hstack([np.zeros((100, 6)), x[:, None], np.ones((100, 1))])
    found = factor_agreement(CODES, readings, {}, {"x": x, "y": y, "z": z})
    assert found["x"] == pytest.approx(1)
    assert found["y"] == found["z"] == 0
    assert factor_agreement(Codes(categorical={"digit": 2}), readings[:, :2], {}, {"x": x}) == {"x": 0}
