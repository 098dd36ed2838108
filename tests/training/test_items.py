"""IRGAN as a training run: wired, resumed bit for bit, refused where it cannot be played."""

from typing import Final

import pytest
import torch

from tests.support import small
from tests.support.states import same, whole_and_resumed
from training import config as configuration
from training import data
from training.config import Config
from training.errors import ConfigError
from training.loop.trainer import Trainer
from training.networks.catalogue import ItemGenerator
from training.tables import Value

ITEMS: Final = 24
GENERATOR: Final[dict[str, Value]] = {
    "kind": "factorization",
    "latent_size": ITEMS,
    "prior": "gumbel",
    "conditional": True,
}
TABLES: Final[dict[str, dict[str, Value]]] = {
    "data": {"kind": "planted", "users": 20, "items": ITEMS, "positives": 6, "test_positives": 4},
    "generator": GENERATOR,
    "discriminator": {"kind": "factorization"},
    "objective": {"kind": "irgan", "pretraining_steps": 2, "baseline": "batch"},
    "trainer": {"weight_decay_generator": 0.1, "weight_decay_discriminator": 0.5},
}


def config(**changes: dict[str, Value]) -> Config:
    """A run on planted interactions, with some tables replaced."""
    return configuration.loads(small.text(**{**TABLES, **changes}))


def trainer(**changes: dict[str, Value]) -> Trainer:
    chosen = config(**changes)
    return Trainer(chosen, data.load(chosen.data))


@pytest.mark.parametrize("kind", ["factorization", "item_item"])
def test_a_restored_game_over_items_goes_on_bit_for_bit(kind: str) -> None:
    # pretraining ends in between
    whole, second = whole_and_resumed(lambda: trainer(generator={**GENERATOR, "kind": kind}), steps=4)
    assert same(whole.checkpoint(), second.checkpoint())


def test_the_generator_is_told_the_training_pairs_and_no_other() -> None:
    training = trainer(data={**TABLES["data"], "validation_users": 5})
    generator, pairs = training.players.generator, training.data
    assert isinstance(generator, ItemGenerator)
    assert isinstance(pairs, data.InteractionData)
    told = generator.choices(torch.arange(pairs.users)).numpy()
    assert (told == pairs.relevance(pairs.pairs)).all()
    assert not (told & pairs.relevance(pairs.validation)).any()


def test_the_game_begins_after_pretraining() -> None:
    training = trainer()
    readings = [training.step() for _ in range(3)]
    assert ["generator/reward" in step for step in readings] == [False, False, True]


def test_pretraining_makes_taken_items_likely() -> None:
    training = trainer(
        objective={"kind": "irgan", "pretraining_steps": 10_000},
        trainer={"learning_rate_generator": 0.05, "beta1": 0.9},
    )
    losses = [training.step()["generator/total"].item() for _ in range(60)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_images_have_no_items_to_draw() -> None:
    with pytest.raises(ConfigError, match=r"\[generator\] is a network over items, but the data has none"):
        trainer(data={"kind": "digits"})


def test_weight_decay_needs_adam() -> None:
    with pytest.raises(ConfigError, match='weight decay is Adam\'s; it needs optimizer = "adam"'):
        trainer(trainer={"optimizer": "rmsprop", "weight_decay_generator": 0.1})
