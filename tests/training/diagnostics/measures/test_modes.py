"""Modes: exact for mixtures, the classifier's for labelled images, unknown otherwise."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import small
from training.data import DigitsConfig, digits
from training.data.mixtures import ring
from training.data.pixels import to_floats
from training.diagnostics.measures.modes import ModeAssigner, assigner_of, of_channels, of_labels, of_mixture

DIGITS = digits.load(DigitsConfig())


def test_a_sample_is_in_the_mode_within_three_deviations_of_it() -> None:
    assigned = of_mixture(ring()).assign(
        torch.tensor([[1.0, 0.0], [1.0, 0.029], [1.0, 0.031], [-1.0, 0.0], [0.0, 0.0]])
    )
    assert assigned.tolist() == [0, 0, -1, 4, -1]


def test_shares_of_a_mixture_are_its_weights() -> None:
    assert of_mixture(ring()).shares.tolist() == [1 / 8] * 8


def test_digits_are_told_apart_by_a_classifier_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    judge = of_labels(DIGITS)
    assert DIGITS.held_out_labels is not None
    right = judge.assign(to_floats(torch.from_numpy(DIGITS.held_out))) == DIGITS.held_out_labels
    assert right.mean() > 0.95
    assert judge.shares == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_channels_are_judged_one_by_one_and_their_modes_combine() -> None:
    single = ModeAssigner(10, lambda images: images[:, 0, 0, 0].long().numpy(), np.full(10, 0.1))
    triples = of_channels(single, 3)
    assert triples.assign(torch.tensor([4.0, 0.0, 7.0]).reshape(1, 3, 1, 1)).tolist() == [407]
    assert triples.count == 1_000
    assert triples.shares == pytest.approx(np.full(1_000, 0.001))


def test_without_labels_or_where_it_is_not_wanted_nothing_is_counted() -> None:
    bare = dataclasses.replace(DIGITS, train_labels=None, held_out_labels=None, label_names=None)
    assert assigner_of(small.config(diagnostics={"classifier": True}), bare) is None
    assert assigner_of(small.config(diagnostics={"classifier": False}), DIGITS) is None
