"""Codes against classes: the matching, and what each figure forgives."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.experiments.studies.infogan_mnist import code_accuracy

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
