"""Synthetic interactions of users with known preferences, so that a served ranking can be compared with the truth.

Users and items are points of a low-rank space, and the probability of an item for a user is the softmax of their inner
products. Each user takes a few items by that law, one after the other without replacement, which ranking by score plus
Gumbel noise does. Some of what a user took is held out.

Shapes: U users, I items, R rank.

References:
    Plackett, The Analysis of Permutations (1975): choices one after the other, without replacement.
    Yellott, The Relationship between Luce's Choice Axiom, Thurstone's Theory of Comparative Judgment, and the Double
    Exponential Distribution (1977): they follow from Gumbel noise.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.interaction_data import InteractionData, Pairs, ValidationKeys, split_validation
from training.errors import ConfigError
from training.tables import Range

TASTES, CHOICES = range(2)  # draws of the data's own seed

Count = Annotated[int, Range(at_least=1)]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PlantedConfig(ValidationKeys):
    """The `[data]` table of kind "planted".

    Attributes:
        users: U.
        items: I.
        rank: R.
        contrast: standard deviation of a user's scores over items, nats; 0 would make all items alike.
        positives: items each user takes and the players are shown.
        test_positives: further ones that are held out.
        data_seed: which tastes and choices; the seed of a run changes the run on the same data.
    """

    kind: ClassVar[str] = "planted"
    users: Count = 300
    items: Count = 120
    rank: Count = 3
    contrast: Annotated[float, Range(above=0)] = 2.0
    positives: Count = 20
    test_positives: Count = 5
    data_seed: Annotated[int, Range(at_least=0)] = 0


def tastes(config: PlantedConfig) -> Numbers:
    """Compute the true scores of each user and item.

    Returns:
        [U, I] scores in nats: the law of a user's first choice is their softmax.
    """
    chance = np.random.default_rng((config.data_seed, TASTES))
    users = chance.standard_normal((config.users, config.rank))
    items = chance.standard_normal((config.items, config.rank))
    scores: Numbers = config.contrast * (users @ items.T) / np.sqrt(config.rank)
    return scores


def load(config: PlantedConfig) -> InteractionData:
    """Draw the choices of every user.

    Returns:
        Each user's choices, some at random held out; the same for the same configuration.

    Raises:
        ConfigError: if a user would have to take every item.
        DataError: if more is to be set aside than there is.
    """
    taken = config.positives + config.test_positives
    if taken >= config.items:
        raise ConfigError(f"[data] each user takes {taken} of {config.items} items; leave some untaken")
    noise = np.random.default_rng((config.data_seed, CHOICES)).gumbel(size=(config.users, config.items))
    choices = np.argsort(-(tastes(config) + noise), axis=1)[:, :taken]
    # Which choices are held out must not depend on their order, or the test items would have lower scores.
    choices = np.random.default_rng((config.data_seed, CHOICES, 1)).permuted(choices, axis=1)
    everything = _pairs(choices)
    pairs, validation = split_validation(_pairs(choices[:, : config.positives]), config)
    return InteractionData(
        name=config.kind,
        pairs=pairs,
        validation=validation,
        test=_pairs(choices[:, config.positives :]),
        users=config.users,
        items=config.items,
        sha256=hashlib.sha256(everything.tobytes()).hexdigest(),
        attribution="planted from a low-rank preference model; there are no such users",
    )


def _pairs(choices: NDArray[np.int64]) -> Pairs:
    """Choices [U, n] as pairs [U n, 2]."""
    users = np.repeat(np.arange(len(choices)), choices.shape[1])
    return np.stack([users, choices.ravel()], axis=1)
