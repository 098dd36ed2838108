"""The choice of feature extractors: none that accepts blobs, at any accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import exported
from tests.training.evaluation import pictures
from training.data import digits
from training.data.image_data import Bytes, ImageData
from training.evaluation.classifier import Classifier
from training.evaluation.distances import Features
from training.evaluation.feature_extractors import blob_test, blobs, choose
from training.evaluation.random_convolutions import RandomConvolutions, fit

DIGITS = digits.load(digits.DigitsConfig())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))


def test_images_without_labels_are_judged_by_random_convolutions() -> None:
    panel = choose(replace(DIGITS, train_labels=None, held_out_labels=None, label_names=None), 256)
    assert [type(judge) for judge in panel.extractors] == [RandomConvolutions]
    assert panel.rejected == ""


def test_a_classifier_that_is_right_and_passes_its_trial_judges_first() -> None:
    panel = choose(DIGITS, 256)
    assert [type(judge) for judge in panel.extractors] == [Classifier, RandomConvolutions]
    assert panel.rejected == ""


def test_a_classifier_that_is_often_wrong_does_not_judge() -> None:
    assert DIGITS.train_labels is not None
    labels = np.random.default_rng(0).integers(10, size=len(DIGITS.train))
    panel = choose(replace(DIGITS, train_labels=labels, sha256="1" * 64), 256)
    assert [type(judge) for judge in panel.extractors] == [RandomConvolutions]
    assert panel.rejected.startswith("one trained on the data's labels is right of ")
    assert panel.rejected.endswith(" of the held-out images, and 95% are the least to judge by")


def test_a_classifier_that_is_right_and_takes_blobs_for_images_does_not_judge() -> None:
    flat = np.full((400, 3, 16, 16), 128, np.uint8)
    drawn = blobs(flat, np.random.default_rng(1))  # of such data, blobs are as real as anything
    bright = (drawn.mean(axis=(1, 2, 3)) > 128).astype(np.int64)
    data = replace(
        pictures.scenery(80, 20),
        train=drawn[:300],
        held_out=drawn[300:],
        train_labels=bright[:300],
        held_out_labels=bright[300:],
        label_names=("dark", "bright"),
    )
    panel = choose(data, 100)
    assert [type(judge) for judge in panel.extractors] == [RandomConvolutions]
    assert "blobs without any detail have a density of" in panel.rejected


def test_a_judge_who_sees_nothing_but_colour_fails_its_trial() -> None:
    class Colour:
        dimensions = 3

        def facts(self) -> dict[str, object]:
            return {"kind": "colour"}

        def extract(self, pixels: Bytes) -> tuple[Features, None]:
            return pixels.mean(axis=(2, 3)), None

    assert not blob_test(Colour(), pictures.scenery()).passed


@pytest.mark.parametrize("data", [DIGITS, pictures.scenery()], ids=["digits", "scenes"])
def test_random_convolutions_pass_their_trial(data: ImageData) -> None:
    trial = blob_test(fit(data, len(data.held_out)), data)
    assert trial.passed
    assert trial.blobs < 0.05
    assert trial.real > 0.8


def test_blobs_have_the_datas_mean_and_no_detail() -> None:
    images = pictures.scenery().train
    drawn = blobs(images, np.random.default_rng(0))
    assert drawn.shape == images.shape
    assert drawn.mean() == pytest.approx(images.mean(), abs=3)
    steps, real_steps = (np.abs(np.diff(some.astype(int), axis=3)).mean() for some in (drawn, images))
    assert steps < real_steps / 4
