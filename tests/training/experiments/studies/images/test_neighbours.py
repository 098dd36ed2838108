"""1-NN: exact, in blocks, and unmoved by where the origin is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.experiments.studies.images.bigan_mnist import BLOCK_ROWS, Features, nearest, nearest_neighbour_accuracy

NUMBERS = np.random.default_rng(0)
KNOWN = NUMBERS.standard_normal((300, 5)).astype(np.float32)
QUERIES = NUMBERS.standard_normal((2 * BLOCK_ROWS + 7, 5)).astype(np.float32)


def by_hand(known: Features, queries: Features) -> NDArray[np.int64]:
    differences = queries[:, None].astype(np.float64) - known.astype(np.float64)
    found: NDArray[np.int64] = np.square(differences).sum(axis=2).argmin(axis=1)
    return found


def test_the_nearest_is_that_of_all_distances_written_out() -> None:
    assert np.array_equal(nearest(KNOWN, QUERIES), by_hand(KNOWN, QUERIES))


def test_a_distant_origin_does_not_cost_exactness() -> None:
    shift = np.float32(1_000)
    assert np.array_equal(nearest(KNOWN + shift, QUERIES + shift), by_hand(KNOWN + shift, QUERIES + shift))


def test_the_accuracy_is_the_share_of_right_labels() -> None:
    known, queries = np.array([[0.0], [10.0]], np.float32), np.array([[1.0], [2.0], [9.0], [4.0]], np.float32)
    accuracy = nearest_neighbour_accuracy(known, np.array([3, 7]), queries, np.array([3, 3, 7, 7]))
    assert accuracy == pytest.approx(3 / 4)


def test_known_samples_find_themselves() -> None:
    labels = np.arange(len(KNOWN))
    assert nearest_neighbour_accuracy(KNOWN, labels, KNOWN, labels) == 1
