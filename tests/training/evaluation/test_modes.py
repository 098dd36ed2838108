"""Class histograms and their divergences."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.modes import count_modes


def certain(classes: list[int], count: int = 4, probability: float = 1.0) -> NDArray[np.float64]:
    """Probabilities that put `probability` on the given class of each sample and spread the rest."""
    rows = np.full((len(classes), count), (1 - probability) / (count - 1))
    rows[np.arange(len(classes)), classes] = probability
    return rows


EVERY_CLASS = np.arange(4)


def test_an_even_histogram_has_no_divergence_from_uniform() -> None:
    modes = count_modes(certain([0, 1, 2, 3] * 5), EVERY_CLASS)
    assert modes.histogram == (5, 5, 5, 5)
    assert modes.captured == 4
    assert modes.kl_to_uniform == pytest.approx(0, abs=1e-15)


def test_a_single_class_diverges_by_log_k() -> None:
    modes = count_modes(certain([2] * 9), EVERY_CLASS)
    assert modes.captured == 1
    assert modes.kl_to_uniform == pytest.approx(math.log(4))


def test_divergence_from_the_data_is_zero_where_the_data_is_as_uneven() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [2] + [3])
    modes = count_modes(certain(labels.tolist()), labels)
    assert modes.kl_to_data == pytest.approx(0, abs=1e-15)
    expected = 0.6 * math.log(2.4) + 0.2 * math.log(0.8) + 2 * 0.1 * math.log(0.4)
    assert modes.kl_to_uniform == pytest.approx(expected)


def test_only_samples_above_nine_tenths_are_confident() -> None:
    probabilities = np.concatenate([certain([0] * 3, probability=0.95), certain([1] * 5, probability=0.85)])
    assert count_modes(probabilities, EVERY_CLASS).confident_share == 3 / 8
