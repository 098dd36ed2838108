"""Spread: variety and rest in units of the data's own distances."""

import pytest
import torch

from training.diagnostics.spread import diversity, unit, unrest

REAL = torch.tensor([[0.0], [2.0], [4.0]])


def test_the_unit_is_the_mean_distance_of_two_real_samples() -> None:
    assert unit(REAL) == pytest.approx((2 + 4 + 2) / 3)


def test_the_data_itself_has_diversity_one_and_a_point_none() -> None:
    assert diversity(REAL.flip(0), unit(REAL)) == pytest.approx(1)
    assert diversity(torch.ones(5, 1), unit(REAL)) == 0


def test_unrest_is_the_distance_from_the_average_for_the_same_latents() -> None:
    assert unrest(REAL, REAL, 2.0) == 0
    assert unrest(REAL, REAL + 1, 2.0) == pytest.approx(0.5)
