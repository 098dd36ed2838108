"""Colour images to measure with, made here, and the ways in which a generator makes worse ones.

Shapes: N images, C H W channels, height and width.
"""

import numpy as np

from training.data.image_data import Bytes, ImageData, Labels

SIDE = 32
PALETTES = np.array([[90, 120, 160], [60, 110, 60], [150, 130, 100], [170, 80, 90]], float)
LEAVES = 14  # discs and squares that cover one another


def scenes(count: int, seed: int) -> tuple[Bytes, Labels]:
    """Overlapping shapes of every size under a sloping light, with grain: [N, 3, 32, 32] and the palette of each."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels = chance.integers(len(PALETTES), size=count)
    base = PALETTES[labels][:, :, np.newaxis, np.newaxis]
    drawn = np.repeat(np.repeat(base + chance.normal(0, 30, (count, 3, 1, 1)), SIDE, axis=2), SIDE, axis=3)
    for _ in range(LEAVES):
        down, right = chance.uniform(0, SIDE, (2, count, 1, 1))
        radius = np.minimum(2 * (1 - chance.random((count, 1, 1))) ** -0.7, SIDE / 2)
        round_ones = (labels % 2 == 0)[:, np.newaxis, np.newaxis]
        apart = np.where(
            round_ones,
            np.hypot(rows - down, columns - right),
            np.maximum(np.abs(rows - down), np.abs(columns - right)),
        )
        colour = base + chance.normal(0, 50, (count, 3, 1, 1))
        drawn = np.where((apart < radius)[:, np.newaxis], colour, drawn)
    slope = chance.normal(0, 0.2, (2, count, 1, 1, 1))
    drawn = drawn * (1 + slope[0] * (rows / SIDE - 0.5) + slope[1] * (columns / SIDE - 0.5))
    return as_bytes(drawn + chance.normal(0, 4, drawn.shape)), labels


def scenery(train: int = 600, held_out: int = 400, *, labelled: bool = False) -> ImageData:
    """A data set of scenes."""
    images, labels = scenes(train + held_out, 1)
    return ImageData(
        name="scenes",
        train=images[:train],
        held_out=images[train:],
        train_labels=labels[:train] if labelled else None,
        held_out_labels=labels[train:] if labelled else None,
        label_names=("sky", "wood", "sand", "brick") if labelled else None,
        sha256="5" * 64,
        attribution="made here",
    )


def as_bytes(values: np.ndarray) -> Bytes:
    """The nearest bytes."""
    pixels: Bytes = np.rint(values.clip(0, 255)).astype(np.uint8)
    return pixels


def noisy(images: Bytes, deviation: float) -> Bytes:
    """With grain."""
    return as_bytes(images + np.random.default_rng(2).normal(0, deviation, images.shape))


def blurred(images: Bytes, times: int) -> Bytes:
    """Averaged over 3x3 pixels, so often."""
    values = images.astype(float)
    for _ in range(times):
        for axis in (2, 3):
            before, after = (np.roll(values, step, axis) for step in (-1, 1))
            values = (before + values + after) / 3
    return as_bytes(values)


def repeated(images: Bytes, different: int) -> Bytes:
    """As many, of which only so many differ."""
    return images[np.random.default_rng(3).integers(different, size=len(images))]


def swapped(images: Bytes, share: float) -> Bytes:
    """Red and blue exchanged in a share of them; grey images inverted."""
    count = round(share * len(images))
    changed = 255 - images[:count] if images.shape[1] == 1 else images[:count, ::-1]
    return np.concatenate([changed, images[count:]])


def shuffled(images: Bytes, share: float) -> Bytes:
    """Cut into sixteen tiles and laid out at random, a share of them."""
    chance, count, side = np.random.default_rng(4), round(share * len(images)), images.shape[2] // 4
    changed = images.copy()
    for image in changed[:count]:
        tiles = [
            image[:, i : i + side, j : j + side].copy()
            for i in range(0, 4 * side, side)
            for j in range(0, 4 * side, side)
        ]
        for place, tile in zip(chance.permutation(16), tiles, strict=True):
            row, column = divmod(int(place), 4)
            image[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    return changed
