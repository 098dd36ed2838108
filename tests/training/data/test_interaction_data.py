"""Pairs put aside for validation, and pairs as a table."""

import numpy as np
import pytest

from training.data.interaction_data import ValidationKeys, split_validation
from training.data.planted import PlantedConfig, load
from training.errors import DataError

PAIRS = np.array([(user, item) for user in range(6) for item in range(10) if user or item < 1], dtype=np.int64)


def test_without_validation_users_nothing_is_put_aside() -> None:
    kept, aside = split_validation(PAIRS, ValidationKeys())
    assert np.array_equal(kept, PAIRS)
    assert aside.shape == (0, 2)


def test_so_many_users_give_up_such_a_share_and_the_others_nothing() -> None:
    kept, aside = split_validation(PAIRS, ValidationKeys(validation_users=3, validation_fraction=0.4))
    counts = np.bincount(aside[:, 0], minlength=6)
    assert sorted(counts.tolist()) == [0, 0, 0, 4, 4, 4]
    assert sorted(map(tuple, np.concatenate([kept, aside]).tolist())) == sorted(map(tuple, PAIRS.tolist()))


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_every_chosen_user_gives_up_a_pair_and_keeps_one(fraction: float) -> None:
    kept, aside = split_validation(PAIRS, ValidationKeys(validation_users=5, validation_fraction=fraction))
    assert set(aside[:, 0]) == {1, 2, 3, 4, 5}
    assert set(kept[:, 0]) == {0, 1, 2, 3, 4, 5}


def test_another_seed_puts_others_aside() -> None:
    splits = [
        split_validation(PAIRS, ValidationKeys(validation_users=3, validation_seed=seed))[1] for seed in (0, 0, 1)
    ]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


def test_more_users_than_have_two_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="validation_users is 6, but 5 users have two relevant items or more"):
        split_validation(PAIRS, ValidationKeys(validation_users=6))


def test_pairs_become_a_table_of_users_and_items() -> None:
    data = load(PlantedConfig(users=4, items=9, positives=3, test_positives=2))
    table = data.relevance(data.pairs)
    assert table.shape == (4, 9)
    assert sorted(map(tuple, np.argwhere(table).tolist())) == sorted(map(tuple, data.pairs.tolist()))
