"""The relativistic pairing game: pairs, differences and symmetry."""

import math

import pytest
import torch

from tests.training.objectives.play import batch, curved, linear, players
from training.objectives import Relativistic
from training.objectives.base import Batch, Networks

WEIGHT = torch.tensor([0.7, -1.3], dtype=torch.float64)


def test_equal_logits_cost_both_players_log_two() -> None:
    nets = players(linear(torch.zeros(2, dtype=torch.float64), bias=5.0))
    assert Relativistic().critic_loss(nets, batch()).total.item() == pytest.approx(math.log(2))
    assert Relativistic().generator_loss(nets, batch()).total.item() == pytest.approx(math.log(2))


def test_a_constant_added_to_the_critic_changes_neither_loss() -> None:
    plain, shifted = players(linear(WEIGHT)), players(linear(WEIGHT, bias=123.0))
    penalised = Relativistic(gamma_r1=1.0, gamma_r2=1.0)
    for loss in (penalised.critic_loss, penalised.generator_loss):
        assert loss(plain, batch()).total.item() == pytest.approx(loss(shifted, batch()).total.item())


def test_the_losses_are_those_of_the_pairs_written_out() -> None:
    nets, samples = players(curved(WEIGHT)), batch()
    real, fake = nets.discriminator(samples.real), nets.discriminator(nets.generator(samples.latents))
    critic = sum(math.log1p(math.exp(-(r - f))) for r, f in zip(real.tolist(), fake.tolist(), strict=True)) / len(real)
    generator = sum(math.log1p(math.exp(r - f)) for r, f in zip(real.tolist(), fake.tolist(), strict=True)) / len(real)
    assert Relativistic().critic_loss(nets, samples).total.item() == pytest.approx(critic)
    assert Relativistic().generator_loss(nets, samples).total.item() == pytest.approx(generator)


def test_who_is_paired_with_whom_matters() -> None:
    nets, samples = players(curved(WEIGHT)), batch()
    turned = Batch(samples.real.roll(1, 0), samples.latents)
    assert Relativistic().critic_loss(nets, samples).total != Relativistic().critic_loss(nets, turned).total


def test_exchanging_real_and_generated_exchanges_the_losses() -> None:
    nets, samples = players(curved(WEIGHT)), batch()
    exchanged = Batch(nets.generator(samples.latents), samples.real.flatten(1))
    critic = Relativistic().critic_loss(nets, samples).total
    assert Relativistic().generator_loss(nets, exchanged).total.item() == pytest.approx(critic.item())


def test_the_generators_gradient_does_not_pass_through_the_real_side() -> None:
    weight = WEIGHT.clone().requires_grad_()
    samples = batch()
    constant = Networks(lambda latents: latents.detach().reshape(-1, 1, 1, 2) * 0, linear(weight))
    (slope,) = torch.autograd.grad(Relativistic().generator_loss(constant, samples).total, weight, allow_unused=True)
    assert slope.abs().max() == 0  # the generated side is at zero, where this critic has no slope by its weight
