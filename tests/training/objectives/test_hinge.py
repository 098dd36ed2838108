"""The hinge game: the margin, its optimum and a generator that cannot saturate."""

import pytest
import torch

from tests.training.objectives.play import batch, curved, linear, players, tabular_game
from training.objectives import Hinge

ZERO = torch.zeros(2, dtype=torch.float64)
DENSITIES = torch.tensor([[0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)


def test_an_undecided_critic_loses_two() -> None:
    assert Hinge().critic_loss(players(linear(ZERO)), batch()).total.item() == 2


def test_samples_beyond_their_margin_teach_the_critic_nothing() -> None:
    logits = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    apart = torch.eye(2, dtype=torch.float64)  # only point 0 is real, only point 1 is generated
    loss = Hinge().critic_loss(*tabular_game(apart, logits)).total
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert slope.tolist() == [0, 0]


def test_the_best_critic_is_the_sign_of_p_less_q_and_loses_two_less_twice_the_total_variation() -> None:
    p, q = DENSITIES
    best = (p - q).sign()
    game = Hinge().critic_loss(*tabular_game(DENSITIES, best)).total.item()
    assert game == pytest.approx(2 * (1 - (p - q).abs().sum().item() / 2))
    for change in (torch.tensor([0.1, 0.0]), torch.tensor([-0.1, 0.0]), torch.tensor([0.0, 0.1])):
        assert Hinge().critic_loss(*tabular_game(DENSITIES, best + change)).total.item() > game


@pytest.mark.parametrize("logit", [-1e4, -1.0, 0.0, 1e4])
def test_the_generators_slope_is_minus_one_at_every_logit(logit: float) -> None:
    shift = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    nets = players(lambda samples: shift.expand(len(samples)))
    (slope,) = torch.autograd.grad(Hinge().generator_loss(nets, batch()).total, shift)
    assert slope.item() == pytest.approx(-1)


def test_the_critics_loss_is_the_margins_written_out() -> None:
    nets, samples = players(curved(torch.tensor([0.7, -1.3], dtype=torch.float64))), batch()
    real, fake = nets.discriminator(samples.real).tolist(), nets.discriminator(nets.generate(samples)).tolist()
    by_hand = sum(max(0, 1 - r) for r in real) / len(real) + sum(max(0, 1 + f) for f in fake) / len(fake)
    assert Hinge().critic_loss(nets, samples).total.item() == pytest.approx(by_hand)
