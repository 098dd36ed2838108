"""Slight warps: how far images go, and that each goes its own way."""

import math
from typing import Final

import numpy as np
import pytest
import torch
from torch import Tensor

from training.augmentation import RandomNumbers, WarpsConfig, warped

COUNT: Final = 500
SIZE: Final = 32
STILL: Final = {"rotation": 0.0, "slant": 0.0, "stretch": 1.0, "shift": 0.0}


def numbers(part: slice = slice(None)) -> RandomNumbers:
    return RandomNumbers(np.random.default_rng(0), COUNT, part, torch.device("cpu"))


def blobs(x: float, y: float, deviation: float = 2.0) -> Tensor:
    """The same image many times: a round blob at (x, y), in pixels from the middle."""
    places = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    across, down = (torch.exp(-((places - at) ** 2) / (2 * deviation**2)) for at in (x, y))
    return (down[:, None] * across).float().repeat(COUNT, 1, 1, 1)


def centres(images: Tensor) -> Tensor:
    """Where each image's mass is, (x, y) in pixels from the middle, [B, 2]."""
    places = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    mass = images.sum((1, 2, 3))
    return torch.stack([(images.sum((1, 2)) * places).sum(1), (images.sum((1, 3)) * places).sum(1)], 1) / mass[:, None]


def spread(images: Tensor) -> Tensor:
    """Standard deviation of each image's mass across, in pixels, [B]."""
    places = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    profile = images.sum((1, 2)) / images.sum((1, 2, 3))[:, None]
    mean = (profile * places).sum(1)
    return ((profile * places**2).sum(1) - mean**2).sqrt()


def test_no_warp_leaves_the_images_as_they_are() -> None:
    images = torch.rand(COUNT, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(warped(images, WarpsConfig(**STILL), numbers()), images, atol=1e-5)


def test_a_turn_goes_to_both_sides_as_far_as_it_may() -> None:
    moved = centres(warped(blobs(8, 0), WarpsConfig(**{**STILL, "rotation": 20.0}), numbers()).double())
    degrees = torch.rad2deg(torch.atan2(moved[:, 1], moved[:, 0]))
    assert 19 < degrees.max() <= 20.5
    assert -20.5 <= degrees.min() < -19
    assert degrees.std().item() == pytest.approx(20 / math.sqrt(3), rel=0.1)  # uniform
    assert torch.allclose(moved.norm(dim=1), torch.full((COUNT,), 8.0, dtype=torch.float64), atol=0.1)


def test_a_slant_moves_rows_against_each_other() -> None:
    moved = centres(warped(blobs(0, 8), WarpsConfig(**{**STILL, "slant": 0.5}), numbers()).double())
    assert torch.allclose(moved[:, 1], torch.full((COUNT,), 8.0, dtype=torch.float64), atol=0.05)
    assert 3.8 < moved[:, 0].max() <= 4.05
    assert -4.05 <= moved[:, 0].min() < -3.8


def test_a_stretch_is_a_factor_either_way() -> None:
    wide = spread(warped(blobs(0, 0), WarpsConfig(**{**STILL, "stretch": 1.5}), numbers()).double()) / 2
    assert 1.45 < wide.max() <= 1.54  # interpolation widens, too
    assert 1 / 1.5 <= wide.min() < 1 / 1.42


def test_a_shift_is_a_share_of_the_side() -> None:
    moved = centres(warped(blobs(0, 0), WarpsConfig(**{**STILL, "shift": 0.25}), numbers()).double())
    assert 7.8 < moved.max() <= 8.01
    assert -8.01 <= moved.min() < -7.8
    assert torch.corrcoef(moved.T)[0, 1].abs() < 0.15  # across and down are drawn by themselves


def test_each_process_warps_its_part_as_one_would() -> None:
    images = blobs(3, -5)
    whole, half = warped(images, WarpsConfig(), numbers()), slice(COUNT // 2, COUNT)
    assert torch.equal(warped(images[half], WarpsConfig(), numbers(half)), whole[half])
