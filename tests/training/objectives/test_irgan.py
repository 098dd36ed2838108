"""IRGAN: its draws follow the softmax, its weights and its gradient have the right expectation, enumerated."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
import torch
from torch import Tensor

from training.objectives import Irgan
from training.objectives.base import Batch, Networks
from training.objectives.irgan import importance, negative_log_likelihood

SCORES = torch.tensor([0.7, -0.4, 1.2, 0.0], dtype=torch.float64)
LOGITS = torch.tensor([-1.0, 2.0, 0.3, 0.8], dtype=torch.float64)  # of relevance, an item each
TAKEN = torch.tensor([False, True, True, False])
ITEMS = len(SCORES)


def players(scores: Tensor, logits: Tensor = LOGITS) -> Networks:
    """A catalogue of four items, the same for every user."""
    return Networks(
        generator=lambda latents, users: (scores + latents).argmax(1),
        discriminator=lambda items, users: logits[items],
        scores=lambda users: scores.expand(len(users), ITEMS),
        choices=lambda users: TAKEN.expand(len(users), ITEMS),
    )


def drawing(items: list[int], taken: list[int]) -> Batch:
    """A batch whose latents make the generator draw these items, and whose real ones are those."""
    latents = torch.full((len(items), ITEMS), 0.0, dtype=torch.float64)
    latents[torch.arange(len(items)), torch.tensor(items)] = 1e3
    return Batch(torch.tensor(taken), latents, torch.zeros(len(items), dtype=torch.int64))


def expected(quantity: Callable[[Batch], Tensor], rows: int) -> Tensor:
    """The exact mean of a quantity over all batches of so many independent rows."""
    p, q = SCORES.softmax(0), TAKEN / TAKEN.sum()
    outcomes = [(i, j, float(p[i] * q[j])) for i, j in product(range(ITEMS), range(ITEMS)) if q[j] > 0]
    total = torch.zeros(ITEMS, dtype=torch.float64)
    for combination in product(outcomes, repeat=rows):
        items, taken, chances = zip(*combination, strict=True)
        total += math.prod(chances) * quantity(drawing(list(items), list(taken)))
    return total


def policy_gradient(objective: Irgan, batch: Batch) -> Tensor:
    scores = SCORES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.generator_loss(players(scores), batch).total, scores)
    return gradient


@pytest.mark.parametrize(
    ("reward", "taken_share", "baseline", "rows"),
    [
        ("centred", 0.0, "none", 1),
        ("centred", 0.2, "none", 1),
        ("softplus", 0.7, "none", 1),
        ("softplus", 0.2, "batch", 1),
        ("centred", 0.2, "batch", 2),
    ],
)
def test_the_expected_policy_gradient_is_the_gradient_of_the_expected_reward(
    reward: Literal["centred", "softplus"], taken_share: float, baseline: Literal["batch", "none"], rows: int
) -> None:
    objective = Irgan(reward=reward, taken_share=taken_share, baseline=baseline)
    rewards = 2 * LOGITS.sigmoid() - 1 if reward == "centred" else (1 + LOGITS.exp()).log()
    scores = SCORES.clone().requires_grad_()
    (exact,) = torch.autograd.grad(-(scores.softmax(0) * rewards).sum(), scores)
    estimated = expected(lambda batch: policy_gradient(objective, batch), rows)
    assert torch.allclose(estimated, exact, atol=1e-12)


def test_importance_weights_turn_means_under_the_mixture_into_means_under_the_generator() -> None:
    p, share = SCORES.softmax(0), 0.2
    mixture = (1 - share) * p + share * TAKEN / TAKEN.sum()
    weights = importance(p, TAKEN.expand(ITEMS, ITEMS), torch.arange(ITEMS), share)
    assert torch.allclose(mixture * weights, p, atol=1e-15)
    assert weights.max() <= 1 / (1 - share)


def test_the_batch_baseline_lowers_the_variance() -> None:
    lifted = LOGITS + 4  # rewards near 1 all of them: what is the same for all teaches nothing

    def spread(objective: Irgan) -> float:
        def squared(batch: Batch) -> Tensor:
            scores = SCORES.clone().requires_grad_()
            loss = objective.generator_loss(players(scores, lifted), batch).total
            return torch.autograd.grad(loss, scores)[0].square()

        return float(expected(squared, 2).sum())

    assert spread(Irgan(baseline="batch")) < 0.1 * spread(Irgan(baseline="none"))


def test_the_critics_negatives_are_drawn_at_the_temperature() -> None:
    count, temperature = 200_000, 0.5
    numbers = torch.Generator().manual_seed(0)
    gumbel = -(-torch.rand(count, ITEMS, generator=numbers, dtype=torch.float64).log()).log()
    seen: list[Tensor] = []

    def critic(items: Tensor, users: Tensor) -> Tensor:
        seen.append(items)
        return LOGITS[items]

    batch = Batch(torch.ones(count, dtype=torch.int64), gumbel, torch.zeros(count, dtype=torch.int64))
    Irgan(temperature=temperature).critic_loss(replace(players(SCORES), discriminator=critic), batch)
    frequencies = torch.bincount(seen[1], minlength=ITEMS).double() / count
    four_errors = 4 * math.sqrt(0.25 / count)
    assert torch.allclose(frequencies, (SCORES / temperature).softmax(0), atol=four_errors)


def test_an_undecided_critic_loses_two_log_two() -> None:
    loss = Irgan().critic_loss(players(SCORES, torch.zeros(ITEMS, dtype=torch.float64)), drawing([0, 3], [1, 2])).total
    assert loss.item() == pytest.approx(2 * math.log(2))


def test_the_critics_best_answer_is_the_log_ratio_of_what_is_taken_to_what_is_drawn() -> None:
    share = TAKEN / TAKEN.sum() * 0.9 + 0.1 / ITEMS  # no item impossible
    p = SCORES.softmax(0)
    best = (share / p).log().requires_grad_()
    loss = (share * torch.nn.functional.softplus(-best)).sum() + (p * torch.nn.functional.softplus(best)).sum()
    (slope,) = torch.autograd.grad(loss, best)
    assert slope.abs().max() < 1e-12


def test_pretraining_climbs_the_likelihood_among_the_items_not_taken() -> None:
    scores = SCORES.clone().requires_grad_()
    loss = Irgan(pretraining_steps=1).generator_loss(players(scores), drawing([0], [2])).total
    others = [0, 3]
    by_hand = -(SCORES[2].exp() / (SCORES[2].exp() + SCORES[others].exp().sum())).log()
    assert loss.item() == pytest.approx(by_hand.item())
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[1] == 0  # the user's other item is no rival


def test_pretraining_ends_after_its_steps() -> None:
    objective = Irgan(pretraining_steps=3)
    assert [objective.at(0.0, step).pretraining_steps for step in (0, 2, 3, 9)] == [3, 1, 0, 0]


def test_the_likelihood_of_a_users_only_item_is_the_plain_softmax() -> None:
    only = torch.tensor([[False, True, False, False]])
    found = negative_log_likelihood(SCORES[None], only, torch.tensor([1]))
    assert found.item() == pytest.approx(-SCORES.log_softmax(0)[1].item())


@pytest.mark.parametrize("pretraining_steps", [0, 1])
def test_each_loss_moves_its_own_player_alone(pretraining_steps: int) -> None:
    scores, logits = SCORES.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    objective, nets, batch = (
        Irgan(pretraining_steps=pretraining_steps),
        players(scores, logits),
        drawing([0, 3], [1, 2]),
    )
    of_critic = torch.autograd.grad(objective.critic_loss(nets, batch).total, (scores, logits), allow_unused=True)
    of_generator = torch.autograd.grad(objective.generator_loss(nets, batch).total, (scores, logits), allow_unused=True)
    assert [gradient is None for gradient in of_critic] == [True, False]
    assert [gradient is None for gradient in of_generator] == [False, True]


def test_a_generator_without_a_catalogue_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="it must draw from a catalogue"):
        Irgan().generator_loss(replace(players(SCORES), scores=None), drawing([0], [1]))
