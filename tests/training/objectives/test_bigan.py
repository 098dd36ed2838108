"""BiGAN: its values, its optimum, and one loss for generator and encoder."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.objectives.play import batch, generate
from training.objectives import BiGan
from training.objectives.base import Batch, Networks

SAMPLE_WEIGHT = torch.tensor([0.7, -1.3], dtype=torch.float64)
LATENT_WEIGHT = torch.tensor([-0.4, 2.0], dtype=torch.float64)


def encode(samples: Tensor) -> Tensor:
    """A latent that is not the sample."""
    return torch.tanh(samples.flatten(1)) + 1


def pairs(sample_weight: Tensor = SAMPLE_WEIGHT, latent_weight: Tensor = LATENT_WEIGHT) -> Networks:
    """A linear critic of pairs."""
    return Networks(
        generate, lambda samples, latents: samples.flatten(1) @ sample_weight + latents @ latent_weight, encoder=encode
    )


def test_an_undecided_critic_costs_every_player_two_log_two() -> None:
    undecided = pairs(torch.zeros(2).double(), torch.zeros(2).double())
    assert BiGan().critic_loss(undecided, batch()).total.item() == pytest.approx(2 * math.log(2))
    assert BiGan().generator_loss(undecided, batch()).total.item() == pytest.approx(2 * math.log(2))


def test_the_critics_loss_is_the_cross_entropy_over_both_kinds_of_pair() -> None:
    nets, samples = pairs(), batch()
    real = nets.discriminator(samples.real, encode(samples.real)).sigmoid()
    fake = nets.discriminator(generate(samples.latents), samples.latents).sigmoid()
    by_hand = -real.log().mean() - (1 - fake).log().mean()
    assert BiGan().critic_loss(nets, samples).total.item() == pytest.approx(by_hand.item())


def test_the_generators_loss_is_the_critics_with_its_labels_exchanged() -> None:
    nets, samples = pairs(), batch()
    exchanged = replace(nets, discriminator=lambda *pair: -nets.discriminator(*pair))
    critic = BiGan().critic_loss(exchanged, samples).total
    assert BiGan().generator_loss(nets, samples).total.item() == pytest.approx(critic.item())


def test_one_loss_trains_the_generator_by_its_pairs_and_the_encoder_by_its_own() -> None:
    scale_g, scale_e = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    nets = replace(
        pairs(), generator=lambda latents: scale_g * generate(latents), encoder=lambda x: scale_e * encode(x)
    )
    slopes = torch.autograd.grad(BiGan().generator_loss(nets, batch()).total, [scale_g, scale_e])
    assert all(slope.abs() > 1e-3 for slope in slopes)
    learning = replace(nets, discriminator=pairs(SAMPLE_WEIGHT.clone().requires_grad_()).discriminator)
    torch.autograd.backward(BiGan(gamma_r1=1.0, gamma_r2=1.0).critic_loss(learning, batch()).total)
    assert (scale_g.grad, scale_e.grad) == (None, None)


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_a_linear_critic_pays_half_gamma_times_its_squared_norm_over_both_members(name: str) -> None:
    objective = BiGan(gamma_r1=3.0 * (name == "r1"), gamma_r2=3.0 * (name == "r2"))
    terms = objective.critic_loss(pairs(), batch())
    norm = SAMPLE_WEIGHT.square().sum() + LATENT_WEIGHT.square().sum()
    assert terms.parts[name].item() == pytest.approx(3.0 / 2 * norm.item())
    assert terms.total.item() == pytest.approx((terms.parts["adversarial"] + terms.parts[name]).item())


def joint_game(logits: Tensor) -> tuple[Networks, Batch, Tensor, Tensor]:
    """Two samples and two latents; E sends x = 0, 1 to z = 0, 1, G sends z = 0, 1 to x = 1, 1; P(x = 0) = 0.3."""
    real = torch.tensor([0.0] * 3 + [1.0] * 7, dtype=torch.float64)
    latents = torch.tensor([0.0] * 5 + [1.0] * 5, dtype=torch.float64)
    nets = Networks(
        torch.ones_like,
        lambda samples, codes: logits[samples.long().flatten(), codes.long().flatten()],
        encoder=lambda samples: samples,
    )
    encoded = torch.tensor([[0.3, 0.0], [0.0, 0.7]], dtype=torch.float64)  # P_EX by (x, z)
    generated = torch.tensor([[0.0, 0.0], [0.5, 0.5]], dtype=torch.float64)  # P_GZ
    return nets, Batch(real.reshape(-1, 1), latents.reshape(-1, 1)), encoded, generated


def test_the_best_critic_is_the_share_of_encoded_pairs_and_its_value_the_divergence_of_the_joints() -> None:
    best = torch.zeros(2, 2).double().requires_grad_()
    nets, game, encoded, generated = joint_game(best)
    met_by_both = torch.logical_and(encoded > 0, generated > 0)
    with torch.no_grad():
        best[met_by_both] = (encoded / (encoded + generated))[met_by_both].logit()
        best[torch.logical_and(encoded > 0, generated == 0)] = 40.0  # D* = 1 and 0 where only one kind of pair is met
        best[torch.logical_and(encoded == 0, generated > 0)] = -40.0
    loss = BiGan().critic_loss(nets, game).total
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max() < 1e-12
    middle = (encoded + generated) / 2
    divergence = sum(torch.special.xlogy(p, p / middle).nansum() for p in (encoded, generated)) / 2
    assert -loss.item() == pytest.approx(2 * float(divergence) - math.log(4))
