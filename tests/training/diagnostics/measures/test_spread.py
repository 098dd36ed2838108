"""Spread: variety and rest in units of the data's own distances."""

import pytest
import torch

from training.diagnostics.measures.distances import pair_distances
from training.diagnostics.measures.spread import diversity, neighbourhood, unit, unrest

REAL = torch.tensor([[0.0], [2.0], [4.0]])


def test_the_unit_is_the_mean_distance_of_two_real_samples() -> None:
    assert unit(REAL) == pytest.approx((2 + 4 + 2) / 3)


def test_the_data_itself_has_diversity_one_and_a_point_none() -> None:
    assert diversity(pair_distances(REAL.flip(0)), unit(REAL)) == pytest.approx(1)
    assert diversity(pair_distances(torch.ones(5, 1)), unit(REAL)) == 0


def test_unrest_is_the_distance_from_the_average_for_the_same_latents() -> None:
    assert unrest(REAL, REAL, 2.0) == 0
    assert unrest(REAL, REAL + 1, 2.0) == pytest.approx(0.5)


def test_samples_of_the_data_are_near_it_and_noise_is_not() -> None:
    chance = torch.Generator().manual_seed(0)
    centres = torch.randn(8, 16, generator=chance).sign().repeat(32, 1)
    real, fresh = (centres + 0.1 * torch.randn(256, 16, generator=chance) for _ in range(2))
    around = neighbourhood(real)
    near, found = around.near(fresh)
    assert found["near_real"] == near.double().mean() > 0.9
    _, of_noise = around.near(4 * torch.rand(256, 16, generator=chance) - 2)
    assert of_noise["near_real"] < 0.2
    assert of_noise["real_distance"] > found["real_distance"]
