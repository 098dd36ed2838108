"""A thousand classes of stacked digits, counted with a classifier of single ones."""

import math

import numpy as np
import pytest

from training.data import digits
from training.data.digits import DigitsConfig
from training.evaluation import classifier
from training.evaluation.classifier import Classifier, Recipe
from training.evaluation.modes import count_stacked

DIGITS = digits.load(DigitsConfig())


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return classifier.obtain(DIGITS, tmp_path_factory.mktemp("cache"), Recipe(samples=40_000))


def stack(judge: Classifier, *classes: int) -> np.ndarray:
    """One image of the first training digit of each class that the judge gets right, a channel each."""
    assert DIGITS.train_labels is not None
    right = judge.extract(DIGITS.train)[1].argmax(axis=1) == DIGITS.train_labels
    rows = [int((right & (DIGITS.train_labels == digit)).argmax()) for digit in range(10)]
    return DIGITS.train[rows][list(classes), 0]


def test_the_channels_make_the_class(judge: Classifier) -> None:
    found = count_stacked(np.stack([stack(judge, 4, 0, 7), stack(judge, 4, 0, 7), stack(judge, 7, 0, 4)]), judge)
    assert found.captured == 2
    assert found.kl_to_uniform == pytest.approx(2 / 3 * math.log(2 / 3 * 1000) + 1 / 3 * math.log(1 / 3 * 1000))


def test_every_class_once_has_no_divergence(judge: Classifier) -> None:
    digits = stack(judge, *range(10))
    found = count_stacked(np.stack([digits[[n // 100, n // 10 % 10, n % 10]] for n in range(1000)]), judge)
    assert found.captured == 1000
    assert found.kl_to_uniform == pytest.approx(0, abs=1e-12)
