"""Generators over a catalogue: how they draw, what they refuse, and where they start."""

import math

import pytest
import torch

from training import networks
from training.errors import ConfigError
from training.networks import factorization, item_item
from training.networks.base import Task
from training.networks.catalogue import ItemGenerator
from training.state.batches import LATENTS, latents

USERS, ITEMS = 5, 7
TASK = Task(sample_shape=(), items=ITEMS, classes=USERS)
FACTORIZATION = factorization.GeneratorConfig(latent_size=ITEMS, prior="gumbel", conditional=True, dimension=3)
ITEM_ITEM = item_item.GeneratorConfig(latent_size=ITEMS, prior="gumbel", conditional=True, ridge=0.5, sharpness=2.0)
GENERATORS = pytest.mark.parametrize("config", [FACTORIZATION, ITEM_ITEM], ids=lambda config: config.kind)
TAKEN = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(0)) < 0.5


def generator(config: factorization.GeneratorConfig | item_item.GeneratorConfig) -> ItemGenerator:
    torch.manual_seed(0)
    network = networks.generator(config, TASK)
    assert isinstance(network, ItemGenerator)
    network.start_from(TAKEN)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        if isinstance(network, item_item.Generator):
            network.weights.fill_diagonal_(0)
    return network.eval()


@GENERATORS
def test_frequencies_of_draws_are_the_softmax_of_the_scores(
    config: factorization.GeneratorConfig | item_item.GeneratorConfig,
) -> None:
    network, count = generator(config), 40_000
    users = torch.full((count,), 3)
    with torch.no_grad():
        drawn = network(latents(0, LATENTS, 0, count, ITEMS, "gumbel"), users)
        expected = network.scores(users[:1]).softmax(1)[0]
    assert drawn.dtype == torch.int64
    assert torch.allclose(torch.bincount(drawn, minlength=ITEMS) / count, expected, atol=4 * math.sqrt(0.25 / count))


@GENERATORS
def test_a_draw_depends_on_its_own_user_and_latents_alone(
    config: factorization.GeneratorConfig | item_item.GeneratorConfig,
) -> None:
    network, noise = generator(config), latents(0, LATENTS, 0, USERS, ITEMS, "gumbel")
    together = network(noise, torch.arange(USERS))
    alone = torch.cat([network(noise[user : user + 1], torch.tensor([user])) for user in range(USERS)])
    assert torch.equal(together, alone)


@GENERATORS
def test_what_users_took_is_part_of_the_state(
    config: factorization.GeneratorConfig | item_item.GeneratorConfig,
) -> None:
    restored = networks.generator(config, TASK)
    restored.load_state_dict(generator(config).state_dict())
    assert isinstance(restored, ItemGenerator)
    assert torch.equal(restored.choices(torch.arange(USERS)), TAKEN)


@pytest.mark.parametrize(
    ("task", "latent_size", "prior", "words"),
    [
        (Task(sample_shape=(2,), classes=5), 7, "gumbel", "the data has none"),
        (Task(sample_shape=(), items=7), 7, "gumbel", "conditional must be true"),
        (TASK, 6, "gumbel", 'set latent_size = 7, prior = "gumbel"'),
        (TASK, 7, "uniform", 'set latent_size = 7, prior = "gumbel"'),
    ],
)
def test_a_configuration_that_cannot_draw_items_is_refused(
    task: Task, latent_size: int, prior: str, words: str
) -> None:
    config = factorization.GeneratorConfig(latent_size=latent_size, prior=prior)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        networks.generator(config, task)


def test_a_score_is_the_product_of_two_vectors_and_a_bias() -> None:
    network = generator(FACTORIZATION)
    assert isinstance(network, factorization.Generator)
    with torch.no_grad():
        by_hand = network.users[2] @ network.items[4] + network.bias[4]
    assert network.scores(torch.tensor([2]))[0, 4].item() == pytest.approx(by_hand.item())


def test_the_factorizing_discriminator_judges_the_pair_that_it_is_given() -> None:
    judge = networks.discriminator(factorization.DiscriminatorConfig(dimension=3), TASK)
    assert isinstance(judge, factorization.Discriminator)
    for parameter in judge.parameters():
        torch.nn.init.normal_(parameter)
    items, users = torch.tensor([4, 0, 4]), torch.tensor([2, 2, 1])
    table = judge.users @ judge.items.T + judge.bias
    assert torch.allclose(judge(items, users), table[users, items])


def test_a_packed_discriminator_of_items_is_refused() -> None:
    with pytest.raises(ConfigError, match="pack must be 1"):
        networks.discriminator(factorization.DiscriminatorConfig(pack=2), Task((), items=7, classes=5, pack=2))


def test_no_item_votes_for_itself_whatever_is_learnt() -> None:
    network = item_item.Generator(ITEM_ITEM, TASK)
    network.start_from(TAKEN)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(network.scores(torch.arange(USERS)).square().sum())
        optimizer.step()
    assert network.weights.diagonal().abs().max() == 0
    before = network.scores(torch.arange(USERS))
    assert torch.allclose(before, network.eval().scores(torch.arange(USERS)))


def test_training_starts_from_the_ridge_regression_of_each_item_on_the_others() -> None:
    network = item_item.Generator(ITEM_ITEM, TASK)
    network.start_from(TAKEN)
    counts = TAKEN.double()
    others = [item for item in range(ITEMS) if item != 3]
    design = counts[:, others]
    by_hand = torch.linalg.solve(design.T @ design + 0.5 * torch.eye(ITEMS - 1).double(), design.T @ counts[:, 3])
    assert torch.allclose(network.weights[others, 3].double(), 2.0 * by_hand, atol=1e-6)
    assert network.bias.abs().max() == 0


def test_dropping_items_from_the_predictors_is_the_mean_over_drops_in_closed_form() -> None:
    counts, dropped, draws = TAKEN.double(), 0.4, 20_000
    others = [item for item in range(ITEMS) if item != 3]
    kept = torch.rand(draws, USERS, ITEMS - 1, generator=torch.Generator().manual_seed(0)) >= dropped
    design = (counts[:, others] * kept / (1 - dropped)).flatten(0, 1)  # what is kept makes up for what is not
    target = counts[:, 3].repeat(draws)
    ridge = 0.5 * torch.eye(ITEMS - 1).double()
    by_hand = torch.linalg.solve(design.T @ design / draws + ridge, design.T @ target / draws)
    assert torch.allclose(item_item.regression(TAKEN, 0.5, dropped)[others, 3], by_hand, atol=0.02)
