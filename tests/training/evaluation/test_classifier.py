"""The judge: trained once a recipe and data set, kept, and harmless to everything else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import digits
from training.evaluation.classifier import Recipe, obtain

DIGITS = digits.load(digits.DigitsConfig())
SHORT = Recipe(samples=12_800)


def test_a_short_recipe_reads_digits_well_and_its_weights_repeat(tmp_path: Path) -> None:
    first, second = (obtain(DIGITS, tmp_path / name, SHORT) for name in ("first", "second"))
    assert first.accuracy > 0.9
    assert first.sha256 == second.sha256
    features, probabilities = first.extract(DIGITS.held_out)
    assert features.shape == (256, 128)
    assert features.min() >= 0
    assert features.dtype == np.float64
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == DIGITS.held_out_labels).mean() == first.accuracy


def test_trained_weights_are_kept_under_their_recipe_and_read_back(tmp_path: Path) -> None:
    trained = obtain(DIGITS, tmp_path, replace(SHORT, samples=1_280))
    (kept,) = tmp_path.iterdir()
    weights = torch.load(kept, weights_only=True)
    torch.save({name: torch.zeros_like(weight) for name, weight in weights.items()}, kept)
    assert obtain(DIGITS, tmp_path, replace(SHORT, samples=1_280)).sha256 != trained.sha256
    obtain(DIGITS, tmp_path, replace(SHORT, samples=1_408))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    recipe = replace(SHORT, samples=1_280)
    trained = obtain(DIGITS, tmp_path, recipe)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:1_000])
    assert obtain(DIGITS, tmp_path, recipe).sha256 == trained.sha256


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert obtain(DIGITS, tmp_path / "file", replace(SHORT, samples=1_280)).accuracy > 0


def test_a_small_data_set_is_shown_no_more_often_than_the_recipe_says(tmp_path: Path) -> None:
    endless = obtain(DIGITS, tmp_path, Recipe(samples=10**9, most_epochs=1))
    one_epoch = obtain(DIGITS, tmp_path, Recipe(samples=len(DIGITS.train)))
    assert endless.sha256 == one_epoch.sha256


def test_training_leaves_the_random_state_of_the_process_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    obtain(DIGITS, tmp_path, replace(SHORT, samples=1_280))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 9, 17)])
def test_odd_sizes_and_colours_have_a_judge_too(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    labels = np.arange(40) % 2
    data = replace(
        DIGITS, train=pixels, held_out=pixels, train_labels=labels, held_out_labels=labels, label_names=("a", "b")
    )
    features, probabilities = obtain(data, tmp_path, replace(SHORT, samples=256)).extract(pixels)
    assert features.shape == (40, 128)
    assert probabilities.shape == (40, 2)


def test_data_without_labels_has_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="digits has no labels"):
        obtain(replace(DIGITS, train_labels=None), tmp_path, SHORT)
