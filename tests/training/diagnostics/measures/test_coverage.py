"""Coverage: modes drawn, how evenly, against the data's shares."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.diagnostics.measures.modes import ModeAssigner, readings, uniform


def drawing(*modes: int) -> dict[str, float]:
    """Readings of samples in these modes, of four that are equally likely."""
    samples = torch.tensor(modes, dtype=torch.float64)[:, None]

    def assign(given: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return given[:, 0].long().numpy()

    return readings(ModeAssigner(4, assign, uniform(4)), samples)


def test_even_modes_have_the_largest_entropy_and_no_divergence() -> None:
    found = drawing(0, 1, 2, 3, 3, 2, 1, 0)
    assert found["modes"] == 4
    assert found["in_a_mode"] == 1
    assert found["mode_entropy"] == pytest.approx(math.log(4))
    assert found["mode_reverse_kl"] == pytest.approx(0, abs=1e-12)


def test_one_mode_alone_has_no_entropy_and_is_the_logarithm_of_four_away() -> None:
    found = drawing(2, 2, 2)
    assert (found["modes"], found["mode_entropy"]) == (1, 0)
    assert found["mode_reverse_kl"] == pytest.approx(math.log(4))


def test_samples_in_no_mode_are_counted_apart() -> None:
    found = drawing(-1, 0, 1, -1)
    assert (found["modes"], found["in_a_mode"]) == (2, 0.5)
    assert found["mode_entropy"] == pytest.approx(math.log(2))


def test_without_any_sample_in_a_mode_there_is_no_histogram_to_describe() -> None:
    assert drawing(-1, -1) == {"modes": 0, "in_a_mode": 0}


def test_the_divergence_is_from_the_shares_of_the_data() -> None:
    shares = np.array([0.75, 0.25])
    judge = ModeAssigner(2, lambda given: np.array([0, 0, 0, 1])[: len(given)], shares)
    assert readings(judge, torch.zeros(4, 1))["mode_reverse_kl"] == pytest.approx(0, abs=1e-12)
