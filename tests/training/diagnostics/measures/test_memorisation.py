"""Memorisation: copies are found, new samples are not taken for copies."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.data import DigitsConfig, digits
from training.data.pixels import to_floats
from training.diagnostics.measures.memorisation import measure


def normal(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)


TRAIN, HELD_OUT = normal(5_000, 0), normal(300, 1)


def test_new_samples_of_the_data_are_as_far_from_the_training_set_as_held_out_ones() -> None:
    found = measure(torch.from_numpy(normal(300, 2)), HELD_OUT, TRAIN)
    assert found.copies < 0.05
    assert found.generated == pytest.approx(found.held_out, rel=0.1)


def test_training_samples_with_a_little_noise_are_copies() -> None:
    found = measure(torch.from_numpy(TRAIN[-200:] + 0.01 * normal(200, 3)), HELD_OUT, TRAIN)
    assert found.copies > 0.95


def test_images_are_compared_in_the_range_that_generators_draw() -> None:
    images = digits.load(DigitsConfig())
    found = measure(to_floats(torch.from_numpy(images.train[:50])), images.held_out, images.train)
    assert found.generated == pytest.approx(0, abs=1e-6)
    assert found.copies == 1
