"""Coloured shapes: the same bytes for ever, even modes, and factors that the pixels show."""

from dataclasses import replace
from typing import Final, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import small
from training.data import ShapesConfig
from training.data.image_data import Bytes
from training.data.shapes import BACKGROUND, COLOURS, MODES, SHAPES, Factors, factors, load, names, render
from training.errors import ConfigError
from training.tables import Value

SMALL = ShapesConfig(train_samples=900, held_out_samples=300)
SHA256 = "9d8744c1013c4887d85e1be2800b4048373be7b836360b8ab6389bfa52bc92d6"
# In squares of the radius; a star {5/2} is ten triangles of its centre, a tip and a notch.
AREAS: Final = {
    "circle": np.pi,
    "square": 2.0,
    "triangle": 0.75 * np.sqrt(3),
    "star": 5 * np.sin(np.pi / 5) * (3 - np.sqrt(5)) / 2,
    "ring": np.pi * (1 - 0.55**2),
}


def _taken(truth: Factors, rows: slice) -> Factors:
    return Factors(*(values[rows] for values in vars(truth).values()))


def _covered(pixels: Bytes) -> NDArray[np.float64]:
    """Share of each pixel that is not background, by the channel that differs most."""
    apart = np.abs(pixels.astype(np.float64) - np.reshape(BACKGROUND, (3, 1, 1))).max(axis=1)
    covered: NDArray[np.float64] = apart / apart.max(axis=(1, 2), keepdims=True)
    return covered


def test_a_configuration_has_the_same_bytes_for_ever() -> None:
    assert load(SMALL).sha256 == SHA256


def test_another_seed_or_other_labels_are_other_data() -> None:
    assert len({load(replace(SMALL, **change)).sha256 for change in ({}, {"data_seed": 1}, {"labels": "shape"})}) == 3


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    longer = load(replace(SMALL, train_samples=1_000))
    assert (longer.train[:900] == load(SMALL).train).all()


@pytest.mark.parametrize(("size", "tolerance"), [(16, 0.13), (31, 0.04), (64, 0.02), (128, 0.01)])
def test_images_of_any_size_show_the_whole_shape(size: int, tolerance: float) -> None:
    config = ShapesConfig(image_size=size, train_samples=600, held_out_samples=30)
    truth, pixels = factors(config)[0], load(config).train
    assert pixels.shape == (600, 3, size, size)
    expected = np.array([AREAS[name] for name in SHAPES])[truth.shape] * (size * truth.radius) ** 2
    assert np.abs(_covered(pixels).sum(axis=(1, 2)) / expected - 1).max() < tolerance


def test_every_mode_is_as_frequent_as_any_other() -> None:
    images = load(SMALL)
    assert images.label_names == names("both")
    assert len(names("both")) == len(set(names("both"))) == MODES == len(SHAPES) * len(COLOURS)
    for labels, count in ((images.train_labels, 30), (images.held_out_labels, 10)):
        assert labels is not None
        assert np.bincount(labels).tolist() == [count] * MODES


@pytest.mark.parametrize(("labels", "expected"), [("shape", SHAPES), ("colour", tuple(COLOURS))])
def test_labels_may_be_one_factor_alone(labels: Literal["shape", "colour"], expected: tuple[str, ...]) -> None:
    images = load(replace(SMALL, labels=labels))
    truth, _ = factors(SMALL)
    assert images.label_names == expected
    assert images.train_labels is not None
    assert (images.train_labels == vars(truth)[labels]).all()
    assert (images.train == load(SMALL).train).all()


def test_no_held_out_image_is_trained_on() -> None:
    images = load(ShapesConfig(train_samples=20_000, held_out_samples=10_000, image_size=16))
    shown = {image.tobytes() for image in images.train}
    assert len(shown) == 20_000
    assert not any(image.tobytes() in shown for image in images.held_out)


def test_the_pixels_show_colour_and_position() -> None:
    truth, _ = factors(SMALL)
    pixels = load(SMALL).train
    covered = _covered(pixels)
    brightest = covered.reshape(len(pixels), -1).argmax(axis=1)
    seen = pixels.reshape(len(pixels), 3, -1)[np.arange(len(pixels)), :, brightest].astype(np.int64)
    paints = np.array(list(COLOURS.values()))
    assert (np.abs(seen[:, np.newaxis] - paints).sum(axis=2).argmin(axis=1) == truth.colour).all()

    centres = (np.arange(32) + 0.5) / 32 - 0.5
    weight = covered.sum(axis=(1, 2))
    centroid = (
        (covered * centres).sum(axis=(1, 2)) / weight,
        (covered * centres[:, np.newaxis]).sum(axis=(1, 2)) / weight,
    )
    assert np.abs(centroid[0] - truth.x).max() < 0.01
    assert np.abs(centroid[1] - truth.y).max() < 0.01


def test_the_pixels_show_shape_and_turn() -> None:
    """An image is nearest to the drawing of its own shape, among all shapes in 13 turns, at its place and size."""
    truth, _ = factors(SMALL)
    rows = slice(0, 120)
    some, pixels = _taken(truth, rows), load(SMALL).train[rows].astype(np.int64)
    turns = np.linspace(-30, 30, 13)
    apart = np.stack(
        [
            [
                np.square(render(replace(some, shape=np.full(120, shape), turn=np.full(120, turn)), 32) - pixels).sum(
                    (1, 2, 3)
                )
                for turn in turns
            ]
            for shape in range(len(SHAPES))
        ]
    )
    assert (apart.min(axis=1).argmin(axis=0) == some.shape).all()
    turned = (some.shape != SHAPES.index("circle")) & (some.shape != SHAPES.index("ring"))
    found = turns[apart[some.shape, :, np.arange(120)].argmin(axis=1)]
    assert np.abs(found - some.turn)[turned].max() < 5  # the turns tried are 5 degrees apart


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image_size", 8, "image_size is 8 but must be an integer of at least 16"),
        ("image_size", 256, "image_size is 256 but must be an integer of at least 16 and of at most 128"),
        ("train_samples", 29, "train_samples is 29 but must be an integer of at least 30"),
        ("labels", "color", 'labels is "color" but must be'),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(key: str, value: Value, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small.config(data={"kind": "shapes", key: value})
