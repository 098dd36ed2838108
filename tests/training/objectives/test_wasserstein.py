"""Wasserstein games: the estimate, the two ways to keep the critic Lipschitz, and where the second one looks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.objectives.play import batch, curved, generate, linear, players
from training.objectives import Wasserstein, WassersteinGradientPenalty
from training.objectives.base import Batch, Networks
from training.objectives.wasserstein import interpolates, slope_error

WEIGHT = torch.tensor([0.6, -0.8], dtype=torch.float64)  # of norm 1
GAMES = (Wasserstein(), WassersteinGradientPenalty())


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.kind)
def test_the_estimate_is_the_difference_of_the_mean_logits(game: Wasserstein | WassersteinGradientPenalty) -> None:
    samples = batch()
    parts = game.critic_loss(players(linear(WEIGHT)), samples).parts
    by_hand = ((samples.real.flatten(1).mean(0) - samples.latents.mean(0)) @ WEIGHT).item()
    assert parts["wasserstein_estimate"].item() == pytest.approx(by_hand)
    assert parts["adversarial"].item() == pytest.approx(-by_hand)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.kind)
def test_a_constant_added_to_the_critic_changes_the_critics_loss_not(
    game: Wasserstein | WassersteinGradientPenalty,
) -> None:
    plain, shifted = players(linear(WEIGHT)), players(linear(WEIGHT, bias=123.0))
    losses = [game.critic_loss(nets, batch()).total.item() for nets in (plain, shifted)]
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
def test_the_generators_slope_is_minus_one_at_every_logit(logit: float) -> None:
    shift = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    nets = players(lambda samples: shift.expand(len(samples)))
    (slope,) = torch.autograd.grad(Wasserstein().generator_loss(nets, batch()).total, shift)
    assert slope.item() == pytest.approx(-1)


def test_only_the_first_game_bounds_the_weights() -> None:
    assert Wasserstein(clip=0.05).weight_bound == 0.05
    assert WassersteinGradientPenalty().weight_bound is None


@pytest.mark.parametrize(("norm", "penalty"), [(1.0, 0.0), (0.0, 10.0), (3.0, 40.0)])
def test_a_linear_critic_pays_lambda_times_the_square_of_its_norm_less_one(norm: float, penalty: float) -> None:
    parts = WassersteinGradientPenalty(gamma_slope=10.0).critic_loss(players(linear(norm * WEIGHT)), batch()).parts
    assert parts["slope"].item() == pytest.approx(penalty, abs=1e-12)


def test_the_slope_joins_the_other_penalties_in_the_total() -> None:
    game = WassersteinGradientPenalty(gamma_slope=2.0, gamma_r1=0.5, gamma_r2=3.0)
    terms = game.critic_loss(players(curved(WEIGHT)), batch())
    together = sum(terms.parts[name] for name in ("adversarial", "r1", "r2", "slope"))
    assert terms.total.item() == pytest.approx(float(together))


def test_places_lie_on_the_lines_between_the_pairs_each_at_its_own_share() -> None:
    pairs = batch(100)
    real, fake, between = pairs.real, generate(pairs.latents), torch.linspace(0, 1, 100)[:, None]
    shares = ((interpolates(real, fake, between) - fake) / (real - fake)).flatten(1)
    assert torch.allclose(shares, between.double().expand(-1, 2))  # one share for a whole sample


def test_the_slope_is_taken_between_the_samples_not_at_them() -> None:
    def wall(samples: Tensor) -> Tensor:
        return torch.sigmoid(100 * samples.flatten(1)[:, 0])  # flat but for a step at 0

    ends = torch.full((64, 1, 1, 2), 5.0, dtype=torch.float64)
    places = torch.full((64, 1), 1 / 2)
    apart, together = (Batch(ends, sign * ends.flatten(1), between=places) for sign in (-1, 1))
    game = WassersteinGradientPenalty(gamma_slope=1.0)
    assert game.critic_loss(players(wall), together).parts["slope"].item() == pytest.approx(1)
    assert game.critic_loss(players(wall), apart).parts["slope"].item() > 2


def test_nothing_but_the_batch_says_where_the_slope_is_taken() -> None:
    game, losses = WassersteinGradientPenalty(), []
    for places in (0.25, 0.25, 0.75):
        torch.rand(1)
        one = replace(batch(), between=torch.full((6, 1), places))
        losses.append(game.critic_loss(players(curved(2 * WEIGHT)), one).total.item())
    assert losses[0] == losses[1] != losses[2]
    with pytest.raises(ValueError, match="places between"):
        game.critic_loss(players(linear(WEIGHT)), replace(batch(), between=None))


def test_gradients_agree_with_finite_differences() -> None:
    game = WassersteinGradientPenalty(gamma_slope=2.0, gamma_r1=0.5, gamma_r2=1.0)

    def critic(weight: Tensor) -> Tensor:
        return game.critic_loss(players(curved(weight)), batch(3)).total

    assert torch.autograd.gradcheck(critic, WEIGHT.clone().requires_grad_())


def test_a_flat_critic_has_a_finite_gradient() -> None:
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss = WassersteinGradientPenalty().critic_loss(players(linear(weight)), batch()).total
    (slope,) = torch.autograd.grad(loss, weight)
    assert slope.isfinite().all()


def test_the_norm_of_a_packed_logit_is_over_all_of_its_samples() -> None:
    pairs = batch(4).real.requires_grad_()
    logits = (pairs.reshape(2, 4) @ WEIGHT.repeat(2)).flatten()  # two samples a logit, norm sqrt(2)
    assert slope_error(logits, pairs).item() == pytest.approx((2**0.5 - 1) ** 2)


def test_the_generator_plays_once_a_critic_step_and_stays_out_of_the_gradient() -> None:
    calls, weight = [], WEIGHT.clone().requires_grad_()

    def generator(latents: Tensor) -> Tensor:
        calls.append(len(latents))
        return generate(latents * weight)

    torch.autograd.backward(
        WassersteinGradientPenalty()
        .critic_loss(Networks(generator, linear(WEIGHT.clone().requires_grad_())), batch())
        .total
    )
    assert calls == [6]
    assert weight.grad is None


def test_the_weight_of_the_slope_follows_time_as_the_others_do() -> None:
    game = WassersteinGradientPenalty(gamma_slope=10.0, gamma_r1=1.0, gamma_final_fraction=0.1, penalty_every_steps=4)
    assert (game.at(0.0, 0).gamma_slope, game.at(0.0, 0).gamma_r1) == pytest.approx((40.0, 4.0))
    assert (game.at(1.0, 8).gamma_slope, game.at(1.0, 8).gamma_r1) == pytest.approx((4.0, 0.4))
    assert (game.at(0.5, 3).gamma_slope, game.at(0.5, 3).gamma_r1) == (0, 0)
    assert "slope" not in game.at(0.5, 3).critic_loss(players(linear(WEIGHT)), batch()).parts
