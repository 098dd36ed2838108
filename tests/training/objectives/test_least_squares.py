"""Least squares: the two codings, their optimum, and the divergence that the generator then descends."""

from typing import Literal

import pytest
import torch

from tests.training.objectives.play import batch, linear, players, tabular_game
from training.objectives import LeastSquares
from training.objectives.least_squares import CODINGS

CodingName = Literal["binary", "pearson"]
BOTH: tuple[CodingName, CodingName] = ("binary", "pearson")
DENSITIES = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
ZERO = torch.zeros(2, dtype=torch.float64)


@pytest.mark.parametrize("coding", BOTH)
def test_an_undecided_critic_costs_the_players_half_their_squared_targets(coding: CodingName) -> None:
    a, b, c = CODINGS[coding]
    nets = players(linear(ZERO))
    assert LeastSquares(coding=coding).critic_loss(nets, batch()).total.item() == (a**2 + b**2) / 2
    assert LeastSquares(coding=coding).generator_loss(nets, batch()).total.item() == c**2 / 2


@pytest.mark.parametrize("coding", BOTH)
def test_the_best_critic_is_the_mean_of_the_targets_weighed_by_the_densities(coding: CodingName) -> None:
    p, q = DENSITIES
    a, b, _ = CODINGS[coding]
    best = ((b * p + a * q) / (p + q)).requires_grad_()
    loss = LeastSquares(coding=coding).critic_loss(*tabular_game(DENSITIES, best)).total
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max().item() < 1e-12


def test_the_pearson_coding_descends_pearsons_divergence_of_the_sum_from_twice_the_generators() -> None:
    p, q = DENSITIES
    a, b, c = CODINGS["pearson"]
    assert (b - c, b - a) == (1, 2)  # what the paper's theorem asks for
    best = (b * p + a * q) / (p + q)
    real_side = (p * (best - c).square()).sum() / 2  # constant in the generator; the paper adds it
    nets, samples = tabular_game(DENSITIES, best)
    generator_side = LeastSquares(coding="pearson").generator_loss(nets, samples).total
    pearson = ((2 * q - (p + q)).square() / (p + q)).sum()
    assert 2 * (real_side + generator_side).item() == pytest.approx(pearson.item())


def test_the_binary_coding_draws_the_generator_to_the_answer_for_real_samples() -> None:
    a, b, c = CODINGS["binary"]
    assert (a, b, c) == (0, 1, 1)


@pytest.mark.parametrize("coding", BOTH)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_losses_stay_finite_at_extreme_logits(coding: CodingName, logit: float) -> None:
    nets = players(lambda samples: torch.full((len(samples),), logit))
    assert LeastSquares(coding=coding).critic_loss(nets, batch()).total.isfinite()
    assert LeastSquares(coding=coding).generator_loss(nets, batch()).total.isfinite()
