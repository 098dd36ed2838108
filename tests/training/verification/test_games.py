"""Games that are known completely: tables that mean what they say, and a critic that is trained reproducibly."""

import numpy as np
import torch

from training.objectives import Minimax
from training.verification.games import TableGame, table_of, trained_critic
from training.verification.laws import NEAR, TWO_HILLS


def test_every_point_of_a_table_occurs_as_often_as_it_says() -> None:
    game = TableGame(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 3.0]))
    assert game.batch.real.flatten().tolist() == [0, 0, 1]
    assert game.batch.latents.flatten().tolist() == [1, 1, 1]
    assert TableGame.players(torch.tensor([7.0, 9.0])).discriminator(game.batch.real).tolist() == [7, 7, 9]


def test_densities_become_tables_without_empty_points() -> None:
    game = table_of(np.array([8.0, 2.0, 1e-9]), np.array([1.0, 1.0, 2.0]), total=100)
    assert game.real.tolist() == [80, 20, 1]
    assert game.generated.tolist() == [25, 25, 50]
    assert game.p.sum().item() == game.q.sum().item() == 1


def test_training_is_the_same_at_every_call_and_leaves_torchs_generator_alone() -> None:
    places, before = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None], torch.get_rng_state()
    first, second = (trained_critic(Minimax(), TWO_HILLS, NEAR, steps=5)(places) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
