"""Interactions of users and items in memory, where a sample is an item's number.

A pair (user, item) says that the item is relevant to the user. Some pairs are trained on, validation pairs decide when
to stop, and test pairs are only measured. To the trainer an item's number is the sample and the user's the label.

Shapes: N, V, M pairs; U users, I items.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Labels
from training.errors import DataError
from training.tables import Range

Pairs = NDArray[np.int64]
Relevance = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ValidationKeys:
    """The keys of a `[data]` table that set training pairs aside for validation.

    Attributes:
        validation_users: how many users give up pairs; 0 trains on all pairs.
        validation_fraction: of each such user's pairs, what is put aside.
        validation_seed: which users and pairs.
    """

    validation_users: Annotated[int, Range(at_least=0)] = 0
    validation_fraction: Annotated[float, Range(above=0, below=1)] = 0.4
    validation_seed: Annotated[int, Range(at_least=0)] = 0


@dataclass(frozen=True)
class InteractionData:
    """Pairs with a fixed split.

    Attributes:
        pairs: [N, 2] (user, item), to train on.
        validation: [V, 2], for model selection; may be empty.
        test: [M, 2]; used neither for training nor for selection.
        users: U.
        items: I.
        sha256: of the source, hexadecimal: the same hash means the same data.
        attribution: source and license, one line.
    """

    name: str
    pairs: Pairs
    validation: Pairs
    test: Pairs
    users: int
    items: int
    sha256: str
    attribution: str

    @property
    def train(self) -> Labels:
        """[N] items, as `Dataset` has them."""
        return self.pairs[:, 1]

    @property
    def train_labels(self) -> Labels:
        """[N] the users who took them."""
        return self.pairs[:, 0]

    @property
    def held_out(self) -> Labels:
        """[M] items of the test pairs."""
        return self.test[:, 1]

    @property
    def held_out_labels(self) -> Labels:
        """[M] the users who took them."""
        return self.test[:, 0]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Empty: a sample is one number."""
        return ()

    @property
    def classes(self) -> int:
        """U: users are the classes."""
        return self.users

    def relevance(self, pairs: Pairs) -> Relevance:
        """Convert pairs to a table.

        Args:
            pairs: [N, 2].

        Returns:
            [U, I], whether the pair is among them.
        """
        table = np.zeros((self.users, self.items), dtype=np.bool_)
        table[pairs[:, 0], pairs[:, 1]] = True
        return table


def split_validation(pairs: Pairs, keys: ValidationKeys) -> tuple[Pairs, Pairs]:
    """Split off validation pairs: some users give up a share of theirs, the rest none.

    Args:
        pairs: [N, 2], no pair twice.
        keys: how many users, how much of each, and which.

    Returns:
        What is left to train on and what is put aside, both in the order of `pairs`. Each chosen user gives up at
        least one pair and keeps at least one.

    Raises:
        DataError: if fewer users have two pairs.
    """
    counts = np.bincount(pairs[:, 0])
    able = np.flatnonzero(counts > 1)
    if keys.validation_users > len(able):
        raise DataError(
            f"[data] validation_users is {keys.validation_users}, but {len(able)} users have two relevant items or more"
        )
    chance = np.random.default_rng(keys.validation_seed)
    aside = np.zeros(len(pairs), dtype=np.bool_)
    for user in np.sort(chance.choice(able, keys.validation_users, replace=False)):
        count = int(np.clip(round(keys.validation_fraction * counts[user]), 1, counts[user] - 1))
        aside[chance.choice(np.flatnonzero(pairs[:, 0] == user), count, replace=False)] = True
    return pairs[~aside], pairs[aside]
