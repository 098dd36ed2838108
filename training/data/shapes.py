"""Coloured shapes with known factors: colour images for any machine, whose classes and positions are exactly known.

Each image has one shape in one colour on a dark background; where it is, how large and how far turned is drawn from
intervals. Shapes are intersections of half-planes, or all but one of them for the star, and edges are antialiased by
the distance from the pixel's centre. `factors` gives the truth that measurements compare with.

Every run of 30 consecutive images has each shape in each colour once, and a longer set begins with the shorter one.
Sines are rounded to 2^-30, and everything else is exact in float64, so that the bytes are the same on any platform.

Shapes of arrays: N images, S pixels a side.

References:
    Matthey et al., dSprites: Disentanglement testing Sprites dataset (2017): the idea, with other shapes and in grey.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes, ImageData, Labels
from training.progress import progress
from training.tables import Range

SHAPES: Final = ("circle", "square", "triangle", "star", "ring")
# Far apart in hue, and all lighter than the background.
COLOURS: Final = {
    "red": (235, 70, 60),
    "yellow": (245, 205, 60),
    "green": (70, 180, 80),
    "cyan": (70, 205, 225),
    "blue": (70, 110, 240),
    "magenta": (225, 90, 210),
}
MODES: Final = len(SHAPES) * len(COLOURS)
BACKGROUND: Final = (28, 31, 38)

# Intervals of the continuous factors. The farthest corner stays 1 % of the side within the image.
OFFSETS: Final = (-0.15, 0.15)  # of the centre from the image's, in sides, to the right and down
RADII: Final = (0.22, 0.34)  # of the circle around the shape, in sides
TURNS: Final = (-30.0, 30.0)  # clockwise, degrees; less than half the 72 of a star's symmetry, so that none repeats

# Of the polygons: directions of the half-planes' normals (degrees clockwise from the right), and their distance from
# the centre in radii. A star {5/2} is what at most one of its five half-planes leaves out.
SQUARE: Final = ((0, 90, 180, 270), math.sqrt(0.5))
TRIANGLE: Final = ((90, 210, 330), 0.5)
STAR: Final = ((270, 342, 54, 126, 198), (math.sqrt(5) - 1) / 4)
RING_WIDTH: Final = 0.45  # of its radius
SINE_STEPS: Final = 1 << 30
MOST_POSITIONS: Final = 1 << 18  # pixels drawn at once, which stay in a processor's cache

TRAIN, HELD_OUT = range(2)  # draws of the data's own seed
MODE, X, Y, RADIUS, TURN = range(5)  # draws of each part

Size = Annotated[int, Range(at_least=16, at_most=128)]
Count = Annotated[int, Range(at_least=MODES)]  # so that no mode lacks an image
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ShapesConfig:
    """The `[data]` table of kind "shapes".

    Attributes:
        image_size: height and width in pixels.
        labels: "both" makes each shape in each colour a class, 30 of them; "shape" has five classes, "colour" six.
        train_samples: how many the players are shown.
        held_out_samples: how many they are not.
        data_seed: which positions, sizes and turns; the seed of a run changes the run on the same data.
    """

    kind: ClassVar[str] = "shapes"
    image_size: Size = 32
    labels: Literal["both", "shape", "colour"] = "both"
    train_samples: Count = 50_000
    held_out_samples: Count = 10_000
    data_seed: Annotated[int, Range(at_least=0)] = 0


@dataclass(frozen=True)
class Factors:
    """What images follow from.

    Attributes:
        shape: [N] positions in `SHAPES`.
        colour: [N] positions in `COLOURS`.
        x: [N] of the centre, to the right of the image's, in sides.
        y: [N] of the centre, below the image's, in sides.
        radius: [N] of the circle around the shape, in sides.
        turn: [N] clockwise, degrees; circles and rings do not show it.
    """

    shape: Labels
    colour: Labels
    x: Numbers
    y: Numbers
    radius: Numbers
    turn: Numbers


def factors(config: ShapesConfig) -> tuple[Factors, Factors]:
    """Draw the factors of both parts.

    Returns:
        Those of the images to train on, and those of the held-out ones.
    """
    return _draw(config.train_samples, config.data_seed, TRAIN), _draw(
        config.held_out_samples, config.data_seed, HELD_OUT
    )


def load(config: ShapesConfig) -> ImageData:
    """Draw both parts.

    Returns:
        Images [N, 3, S, S] with labels; the same for the same configuration.
    """
    train, held_out = factors(config)
    train_pixels, held_out_pixels = render(train, config.image_size), render(held_out, config.image_size)
    train_labels, held_out_labels = labels_of(train, config.labels), labels_of(held_out, config.labels)
    digest = hashlib.sha256()
    for array in (train_pixels, held_out_pixels, train_labels.astype("<i8"), held_out_labels.astype("<i8")):
        digest.update(array.data)
    return ImageData(
        name="shapes",
        train=train_pixels,
        held_out=held_out_pixels,
        train_labels=train_labels,
        held_out_labels=held_out_labels,
        label_names=names(config.labels),
        sha256=digest.hexdigest(),
        attribution="coloured shapes drawn by Ganymede, CC0-1.0",
    )


def names(labels: Literal["both", "shape", "colour"]) -> tuple[str, ...]:
    """Names of the classes, such as "red-circle"."""
    match labels:
        case "shape":
            return SHAPES
        case "colour":
            return tuple(COLOURS)
        case "both":
            return tuple(f"{colour}-{shape}" for shape in SHAPES for colour in COLOURS)


def labels_of(truth: Factors, labels: Literal["both", "shape", "colour"]) -> Labels:
    """Classes [N] of images, as positions in `names`."""
    match labels:
        case "shape":
            return truth.shape
        case "colour":
            return truth.colour
        case "both":
            return truth.shape * len(COLOURS) + truth.colour


def render(truth: Factors, image_size: int) -> Bytes:
    """Draw images.

    Args:
        image_size: S, at least 1.

    Returns:
        [N, 3, S, S].
    """
    pixels = np.empty((len(truth.shape), 3, image_size, image_size), np.uint8)
    paints, ground = np.array(list(COLOURS.values()), np.float64), np.array(BACKGROUND, np.float64)
    batches = list(_batches(truth.shape, max(1, MOST_POSITIONS // image_size**2)))
    for rows in progress(batches, "drawing shapes", len(batches), "batch"):
        covered = _covered(truth, rows, image_size)[:, np.newaxis]
        paint = (paints[truth.colour[rows]] - ground)[..., np.newaxis, np.newaxis]
        pixels[rows] = np.rint(ground[:, np.newaxis, np.newaxis] + covered * paint)
    return pixels


def _draw(count: int, seed: int, part: int) -> Factors:
    blocks = np.tile(np.arange(MODES), (-(-count // MODES), 1))
    modes = np.random.default_rng((seed, part, MODE)).permuted(blocks, axis=1).ravel()[:count]

    def between(factor: int, ends: tuple[float, float]) -> Numbers:
        low, high = ends
        return low + (high - low) * np.random.default_rng((seed, part, factor)).random(count)

    return Factors(
        shape=modes // len(COLOURS),
        colour=modes % len(COLOURS),
        x=between(X, OFFSETS),
        y=between(Y, OFFSETS),
        radius=between(RADIUS, RADII),
        turn=between(TURN, TURNS),
    )


def _batches(shape: Labels, most: int) -> Iterator[NDArray[np.int64]]:
    """Rows of the same shape, a few at a time."""
    for kind in range(len(SHAPES)):
        rows = np.flatnonzero(shape == kind)
        yield from (rows[start : start + most] for start in range(0, len(rows), most))


def _covered(truth: Factors, rows: NDArray[np.int64], image_size: int) -> Numbers:
    """Share [n, S, S] of each pixel that the shape covers; all rows have the same shape."""
    centres = (np.arange(image_size) + 0.5) / image_size - 0.5
    right = (centres - truth.x[rows, np.newaxis])[:, np.newaxis, :]
    down = (centres - truth.y[rows, np.newaxis])[:, :, np.newaxis]
    radius = truth.radius[rows, np.newaxis, np.newaxis]
    match SHAPES[truth.shape[rows[0]]]:
        case "square":
            outside, _ = _beyond(right, down, radius, truth.turn[rows], SQUARE)
        case "triangle":
            outside, _ = _beyond(right, down, radius, truth.turn[rows], TRIANGLE)
        case "star":
            _, outside = _beyond(right, down, radius, truth.turn[rows], STAR)
        case "ring":
            half = RING_WIDTH / 2
            outside = np.abs(np.sqrt(right**2 + down**2) - (1 - half) * radius) - half * radius
        case _:
            outside = np.sqrt(right**2 + down**2) - radius
    return np.clip(0.5 - image_size * outside, 0.0, 1.0)


def _beyond(
    right: Numbers, down: Numbers, radius: Numbers, turn: Numbers, polygon: tuple[tuple[int, ...], float]
) -> tuple[Numbers, Numbers]:
    """How far a pixel is beyond the farthest edge [n, S, S], negative within, and beyond the second farthest."""
    directions, distance = polygon
    most: Numbers = np.full(np.broadcast_shapes(right.shape, down.shape), -np.inf)
    second = most.copy()
    for direction in directions:
        angle = np.radians(direction + turn)[:, np.newaxis, np.newaxis]
        here = right * _rounded(np.cos(angle)) + down * _rounded(np.sin(angle)) - distance * radius
        np.maximum(second, np.minimum(most, here), out=second)
        np.maximum(most, here, out=most)
    return most, second


def _rounded(sine: Numbers) -> Numbers:
    return np.rint(sine * SINE_STEPS) / SINE_STEPS
