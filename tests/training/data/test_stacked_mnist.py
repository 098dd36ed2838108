"""Stacked MNIST: three digits an image, their class, and no test digit among what is trained on."""

from pathlib import Path

import numpy as np
import pytest

from training.data import StackedMnistConfig, mnist
from training.data.mnist import MnistConfig
from training.data.stacked_mnist import load
from training.errors import DataError

SMALL = StackedMnistConfig(train_samples=3_000, held_out_samples=500)
needs_files = pytest.mark.skipif(
    not any(mnist.folder().glob("train-images*")),
    reason="needs MNIST: fetch it with `python -m training data mnist`",
)


@needs_files
def test_a_class_is_its_three_digits() -> None:
    stacked, digits = load(SMALL), mnist.load(MnistConfig())
    assert stacked.train.shape == (3_000, 3, 28, 28)
    assert stacked.held_out.shape == (500, 3, 28, 28)
    assert stacked.train_labels is not None
    assert digits.train_labels is not None
    assert stacked.label_names is not None
    label_of = {image.tobytes(): int(label) for image, label in zip(digits.train, digits.train_labels, strict=True)}
    for image, label in zip(stacked.train[:50], stacked.train_labels[:50], strict=True):
        assert stacked.label_names[label] == "".join(str(label_of[channel.tobytes()]) for channel in image)


@needs_files
def test_classes_are_even_and_the_set_is_the_same_for_ever() -> None:
    stacked = load(SMALL)
    assert stacked.sha256 == load(SMALL).sha256
    assert stacked.classes == 1000
    assert stacked.train_labels is not None
    assert len(np.unique(stacked.train_labels)) > 900  # of 3,000 draws from 1,000


@needs_files
def test_another_seed_stacks_others() -> None:
    other = StackedMnistConfig(train_samples=3_000, held_out_samples=500, data_seed=1)
    assert load(other).sha256 != load(SMALL).sha256


def test_without_mnist_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MNIST in"):
        load(StackedMnistConfig(path=str(tmp_path)))
