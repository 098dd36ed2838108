"""f-GAN: the original game as one of its rows, the bound at its optimum, both generators, every divergence."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from tests.training.objectives.play import batch, curved, linear, players, tabular_game
from training.objectives import FGan, Minimax, NonSaturating
from training.objectives.base import Batch
from training.objectives.fgan import Name

NAMES: tuple[Name, ...] = get_args(Name)
WEIGHT = torch.tensor([0.7, -1.3], dtype=torch.float64)
DENSITIES = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
# Where T* = f'(p/q) comes from a logit of its own: v* = g^-1(f'(p/q)).
BEST_LOGITS = {
    "kl": lambda u: 1 + u.log(),
    "reverse_kl": lambda u: u.log(),
    "pearson": lambda u: 2 * (u - 1),
    "neyman": lambda u: 2 * u.log(),
    "squared_hellinger": lambda u: u.log() / 2,
    "jeffrey": lambda u: 1 + u.log() - 1 / u,
    "jensen_shannon": lambda u: u.log(),
    "gan": lambda u: u.log(),
}


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_gan_row_is_the_original_game_exactly(scale: float) -> None:
    nets, samples = players(linear(scale * WEIGHT)), batch()
    game = FGan(divergence="gan")
    assert game.critic_loss(nets, samples).total == Minimax().critic_loss(nets, samples).total
    assert game.generator_loss(nets, samples).total == Minimax().generator_loss(nets, samples).total
    leaping = FGan(divergence="gan", generator="non_saturating")
    assert leaping.generator_loss(nets, samples).total == NonSaturating().generator_loss(nets, samples).total


@pytest.mark.parametrize("name", BEST_LOGITS)
def test_the_best_critics_bound_is_the_divergence_and_nothing_pulls_it_further(name: Name) -> None:
    p, q = DENSITIES
    best = BEST_LOGITS[name](p / q).requires_grad_()
    game = FGan(divergence=name)
    loss = game.critic_loss(*tabular_game(DENSITIES, best)).total
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max().item() < 1e-12
    assert -loss.item() == pytest.approx((q * game.row.f(p / q)).sum().item())


@pytest.mark.parametrize("name", NAMES)
def test_the_saddle_generator_minimises_the_part_of_the_critics_gain_that_it_can_change(name: Name) -> None:
    nets, samples = players(linear(WEIGHT)), batch()
    game = FGan(divergence=name)
    gain = -game.critic_loss(nets, samples).total
    on_real = game.row.activation(nets.discriminator(samples.real)).mean()
    assert (gain - on_real).item() == pytest.approx(game.generator_loss(nets, samples).total.item())


@pytest.mark.parametrize("name", NAMES)
def test_the_non_saturating_generator_raises_what_the_critic_answers(name: Name) -> None:
    nets, samples = players(linear(WEIGHT)), batch()
    game = FGan(divergence=name, generator="non_saturating")
    answers = game.row.activation(nets.discriminator(nets.generate(samples)))
    assert game.generator_loss(nets, samples).total.item() == pytest.approx(-answers.mean().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("generator", ["saddle", "non_saturating"])
def test_gradients_agree_with_finite_differences(name: Name, generator: str) -> None:
    game = FGan(divergence=name, generator=generator, gamma_r1=0.5, gamma_r2=2.0)  # type: ignore[arg-type]  # a Literal
    samples = batch(3)

    def critic(weight: Tensor) -> Tensor:
        return game.critic_loss(players(curved(weight)), samples).total

    def play(latents: Tensor) -> Tensor:
        return game.generator_loss(players(curved(WEIGHT)), Batch(samples.real, latents)).total

    assert torch.autograd.gradcheck(critic, WEIGHT.clone().requires_grad_())
    assert torch.autograd.gradcheck(play, samples.latents.clone().requires_grad_())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_losses_stay_finite_at_extreme_logits(name: Name, logit: float) -> None:
    nets = players(lambda samples: torch.full((len(samples),), logit))
    game = FGan(divergence=name)
    assert game.critic_loss(nets, batch()).total.isfinite()
    for form in (game, FGan(divergence=name, generator="non_saturating")):
        assert form.generator_loss(nets, batch()).total.isfinite()


def test_pi_and_alpha_reach_their_rows() -> None:
    nets = players(curved(WEIGHT))
    for name, changed in (("weighted_jensen_shannon", {"pi": 0.2}), ("alpha", {"alpha": 0.7})):
        plain, other = FGan(divergence=name), FGan(divergence=name, **changed)  # type: ignore[arg-type]  # a Literal
        assert plain.critic_loss(nets, batch()).total != other.critic_loss(nets, batch()).total
