"""Planted interactions: what is drawn follows the tastes that were planted."""

import numpy as np
import pytest

from training.data.planted import PlantedConfig, load, tastes
from training.errors import ConfigError

SMALL = PlantedConfig(users=50, items=30, positives=6, test_positives=2)


def test_every_user_takes_so_many_different_items() -> None:
    data = load(SMALL)
    pairs = np.concatenate([data.pairs, data.test])
    assert len(np.unique(pairs, axis=0)) == len(pairs) == 50 * 8
    assert np.bincount(data.train_labels).tolist() == [6] * 50
    assert np.bincount(data.held_out_labels).tolist() == [2] * 50


def test_the_same_configuration_is_the_same_data_and_another_seed_is_not() -> None:
    again, other = load(SMALL), load(PlantedConfig(users=50, items=30, positives=6, test_positives=2, data_seed=1))
    assert again.sha256 == load(SMALL).sha256 != other.sha256


def test_first_choices_follow_the_softmax_of_the_tastes() -> None:
    config = PlantedConfig(users=4_000, items=5, rank=2, contrast=1.0, positives=1, test_positives=1)
    data = load(config)
    probabilities = np.exp(tastes(config))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    # Which of the two choices is held out is chance, so each is the first with probability 1/2.
    second = sum(
        probabilities[:, [first]] * probabilities / (1 - probabilities[:, [first]]) * (np.arange(5) != first)
        for first in range(5)
    )
    expected = ((probabilities + second) / 2).mean(axis=0)
    found = np.bincount(data.train, minlength=5) / config.users
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / config.users)  # four standard errors at most


def test_tastes_have_the_rank_and_about_the_contrast_that_were_asked_for() -> None:
    scores = tastes(PlantedConfig(users=200, items=150, rank=3, contrast=2.0))
    assert np.linalg.matrix_rank(scores) == 3
    assert scores.std() == pytest.approx(2.0, rel=0.15)


def test_held_out_items_are_liked_as_much_as_the_others() -> None:
    config = PlantedConfig(users=2_000, items=30, positives=5, test_positives=5)
    data, scores = load(config), tastes(config)
    shown, held_out = (scores[pairs[:, 0], pairs[:, 1]] for pairs in (data.pairs, data.test))
    assert shown.mean() == pytest.approx(held_out.mean(), abs=4 * scores.std() / np.sqrt(10_000))


def test_a_user_who_must_take_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="each user takes 30 of 30 items"):
        load(PlantedConfig(items=30, positives=25, test_positives=5))
