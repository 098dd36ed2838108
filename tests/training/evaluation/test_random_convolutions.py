"""The features without labels: what is worse is farther, and nothing but real images looks real."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.training.evaluation import pictures
from training.data import digits
from training.data.image_data import Bytes, ImageData
from training.evaluation.distances import Features, frechet_distance, kernel_distance
from training.evaluation.feature_extractors import blobs
from training.evaluation.neighbourhoods import Neighbourhoods, compare
from training.evaluation.random_convolutions import RandomConvolutions, fit

SOURCES = ("digits", "scenes")
Worse = Callable[[Bytes, float], Bytes]


@cache
def source(name: str) -> tuple[ImageData, RandomConvolutions, Features]:
    """A data set, the features fitted to it, and those of its held-out images."""
    data = digits.load(digits.DigitsConfig()) if name == "digits" else pictures.scenery(labelled=True)
    judge = fit(data, len(data.held_out))
    return data, judge, judge.extract(data.held_out)[0]


def distances(name: str, images: Bytes) -> tuple[float, float]:
    _, judge, held_out = source(name)
    features, _ = judge.extract(images)
    return frechet_distance(features, held_out), kernel_distance(features, held_out)


def around(name: str, images: Bytes) -> Neighbourhoods:
    _, judge, held_out = source(name)
    return compare(judge.extract(images)[0], held_out)


def real(name: str) -> Bytes:
    """Training images, as many as are held out."""
    data, _, held_out = source(name)
    return data.train[: len(held_out)]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("worse", "mild", "strong"),
    [
        pytest.param(pictures.noisy, 40, 100, id="noise"),
        pytest.param(lambda images, times: pictures.blurred(images, int(times)), 1, 4, id="blur"),
        pytest.param(pictures.swapped, 0.4, 1, id="channels swapped"),
        pytest.param(pictures.shuffled, 0.3, 1, id="tiles shuffled"),
        pytest.param(lambda images, count: pictures.repeated(images, int(count)), 50, 10, id="memorised"),
    ],
)
def test_what_is_worse_is_farther_from_held_out_images(name: str, worse: Worse, mild: float, strong: float) -> None:
    images = real(name)
    floor, little, much = (distances(name, some) for some in (images, worse(images, mild), worse(images, strong)))
    assert floor[0] < little[0] < much[0], "Fréchet"
    assert floor[1] < little[1] < much[1], "kernel"


@pytest.mark.parametrize("name", SOURCES)
def test_dropped_classes_are_farther_the_more_there_are_and_recall_falls(name: str) -> None:
    data, _, held_out = source(name)
    assert data.train_labels is not None

    def of_classes(count: int) -> Bytes:
        assert data.train_labels is not None
        kept = data.train[data.train_labels < count]
        return kept[np.random.default_rng(0).integers(len(kept), size=len(held_out))]

    everything, most, half = (of_classes(count) for count in (data.classes, data.classes - 1, data.classes // 2))
    for index in range(2):
        assert distances(name, everything)[index] < distances(name, most)[index] < distances(name, half)[index]
    assert around(name, half).recall < around(name, everything).recall - 0.1
    assert around(name, half).coverage < around(name, everything).coverage - 0.1


@pytest.mark.parametrize("name", SOURCES)
def test_blobs_of_the_mean_colour_look_nothing_like_real_images(name: str) -> None:
    images = real(name)
    flat = around(name, blobs(images, np.random.default_rng(0)))
    assert around(name, images).precision > 0.8
    assert flat.precision < 0.1
    assert flat.density < 0.05
    assert flat.coverage < 0.05
    assert distances(name, blobs(images, np.random.default_rng(0)))[0] > 20 * distances(name, images)[0]


@pytest.mark.parametrize("name", SOURCES)
def test_memorised_images_have_precision_and_no_recall(name: str) -> None:
    found = around(name, pictures.repeated(real(name), 10))
    assert found.precision > 0.7
    assert found.recall < 0.1


def test_the_same_data_has_the_same_features_under_the_same_hash() -> None:
    data, first, _ = source("digits")
    second = fit(data, len(data.held_out))
    assert second.sha256 == first.sha256
    assert np.array_equal(first.extract(data.held_out)[0], second.extract(data.held_out)[0])
    assert fit(replace(data, sha256="0" * 64), len(data.held_out)).sha256 != first.sha256


def test_labels_are_not_looked_at() -> None:
    data, judge, held_out = source("scenes")
    unlabelled = fit(replace(data, train_labels=None, held_out_labels=None, label_names=None), len(data.held_out))
    assert unlabelled.sha256 == judge.sha256
    assert np.array_equal(unlabelled.extract(data.held_out)[0], held_out)


def test_few_held_out_images_have_few_features() -> None:
    data, judge, _ = source("scenes")
    assert judge.dimensions == 40
    assert fit(data, 64).dimensions == 6
    assert fit(data, 10_000).dimensions == 64


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 5, 5), (3, 9, 17), (4, 16, 8), (3, 70, 70)])
def test_every_size_and_number_of_channels_has_features(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, *shape), dtype=np.uint8)
    data = replace(pictures.scenery(80, 10), train=pixels[:80], held_out=pixels[80:])
    features, classes = fit(data, 80).extract(data.held_out)
    assert features.shape == (10, 8)
    assert np.isfinite(features).all()
    assert classes is None


def test_images_that_are_all_one_colour_have_features_too() -> None:
    flat = np.full((80, 3, 8, 8), 7, np.uint8)
    data = replace(pictures.scenery(80, 10), train=flat, held_out=flat[:10])
    assert np.isfinite(fit(data, 80).extract(flat)[0]).all()
