"""The original game: its values, its optimum, and how fast each generator learns."""

import math

import pytest
import torch

from tests.training.objectives.play import batch, curved, linear, players, tabular_game
from training.objectives import Minimax, NonSaturating

ZERO = torch.zeros(2, dtype=torch.float64)
EXTREME = torch.tensor([1e4, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("target", [1.0, 0.9])
@pytest.mark.parametrize("objective", [Minimax, NonSaturating])
def test_an_undecided_critic_loses_two_log_two(objective: type[Minimax | NonSaturating], target: float) -> None:
    loss = objective(real_target=target).critic_loss(players(linear(ZERO)), batch()).total
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_an_undecided_critic_costs_the_generators_minus_and_plus_log_two() -> None:
    undecided = players(linear(ZERO))
    assert Minimax().generator_loss(undecided, batch()).total.item() == pytest.approx(-math.log(2))
    assert NonSaturating().generator_loss(undecided, batch()).total.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("target", [1.0, 0.9])
def test_the_critics_loss_is_the_cross_entropy_written_out(target: float) -> None:
    nets, samples = players(curved(torch.tensor([0.7, -1.3], dtype=torch.float64))), batch()
    real = nets.discriminator(samples.real).sigmoid()
    fake = nets.discriminator(nets.generator(samples.latents)).sigmoid()
    by_hand = -(target * real.log() + (1 - target) * (1 - real).log()).mean() - (1 - fake).log().mean()
    assert Minimax(real_target=target).critic_loss(nets, samples).total.item() == pytest.approx(by_hand.item())


@pytest.mark.parametrize("target", [1.0, 0.9])
def test_the_best_critic_answers_target_times_p_over_p_plus_q(target: float) -> None:
    densities = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    p, q = densities
    best = (target * p / (p + q)).logit().requires_grad_()
    loss = Minimax(real_target=target).critic_loss(*tabular_game(densities, best)).total
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max().item() < 1e-12


def test_the_best_critics_value_is_twice_the_jensen_shannon_divergence_less_log_four() -> None:
    densities = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    p, q = densities
    middle = (p + q) / 2
    divergence = ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2
    value = -Minimax().critic_loss(*tabular_game(densities, (p / (p + q)).logit())).total
    assert value.item() == pytest.approx(2 * divergence.item() - math.log(4))


@pytest.mark.parametrize("logit", [-10.0, -1.0, 0.0, 2.0])
def test_the_generators_slopes_are_minus_d_and_minus_one_less_d(logit: float) -> None:
    shift = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    nets = players(lambda samples: shift.expand(len(samples)))
    saturating, not_saturating = (
        torch.autograd.grad(objective.generator_loss(nets, batch()).total, shift)[0].item()
        for objective in (Minimax(), NonSaturating())
    )
    probability = 1 / (1 + math.exp(-logit))
    assert saturating == pytest.approx(-probability)
    assert not_saturating == pytest.approx(-(1 - probability))


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating(), Minimax(real_target=0.9)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_losses_stay_finite_at_extreme_logits(objective: Minimax | NonSaturating, sign: int) -> None:
    nets = players(linear(sign * EXTREME))
    assert objective.critic_loss(nets, batch()).total.isfinite()
    assert objective.generator_loss(nets, batch()).total.isfinite()
