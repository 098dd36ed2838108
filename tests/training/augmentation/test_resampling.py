"""Resampling: exact where exactness is possible, differentiable twice."""

import math

import pytest
import torch
from torch import Tensor

from training.augmentation.warps import resample

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def maps(matrix: list[list[float]]) -> Tensor:
    return torch.tensor(matrix, dtype=torch.float64).expand(len(IMAGES), 2, 3)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[1, 0, 0], [0, 1, 0]], IMAGES),
        ([[-1, 0, 0], [0, 1, 0]], IMAGES.flip(3)),
        ([[1, 0, 0], [0, -1, 0]], IMAGES.flip(2)),
        ([[0, -1, 0], [1, 0, 0]], IMAGES.rot90(1, (2, 3))),
    ],
    ids=["identity", "mirror", "upside down", "quarter turn"],
)
def test_maps_of_the_grid_onto_itself_are_exact(matrix: list[list[float]], expected: Tensor) -> None:
    assert torch.allclose(resample(IMAGES, maps(matrix)), expected)


def test_a_move_by_whole_pixels_moves_pixels_and_mirrors_at_the_edge() -> None:
    moved = resample(IMAGES, maps([[1, 0, 2 * 2 / 6], [0, 1, 0]]))  # the side is two half sides; two of six pixels
    assert torch.allclose(moved[..., :4], IMAGES[..., 2:])
    assert torch.allclose(moved[..., 4:], IMAGES[..., [5, 4]])


def test_half_a_pixel_is_the_mean_of_both_neighbours() -> None:
    moved = resample(IMAGES, maps([[1, 0, 1 / 6], [0, 1, 0]]))
    assert torch.allclose(moved[..., :5], (IMAGES[..., :5] + IMAGES[..., 1:]) / 2)


def test_both_derivatives_are_right() -> None:
    angle = 0.3
    turned = maps([[math.cos(angle), -math.sin(angle), 0.1], [math.sin(angle), math.cos(angle), 0.2]])[:1]
    image = IMAGES[:1, :1].clone().requires_grad_()

    def squared(values: Tensor) -> Tensor:
        return resample(values, turned).square()

    assert torch.autograd.gradcheck(squared, (image,))
    assert torch.autograd.gradgradcheck(squared, (image,))
