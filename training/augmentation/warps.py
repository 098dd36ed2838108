"""Affine resampling of images, differentiable twice, and the slight warps made with it.

torch's own `grid_sample` has no second derivative, which gradient penalties need. Bilinear interpolation is linear in
the image, so it is four gathers with fixed weights, and gathers have derivatives of every order.

Shapes: B batch, C H W channels, height and width.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from training.augmentation.random_numbers import NumberSource
from training.tables import Range


def resample(images: Tensor, maps: Tensor) -> Tensor:
    """Resample each image by its map; outside, the image is mirrored at its edge.

    Args:
        images: [B, C, H, W].
        maps: [B, 2, 3] from a point (x, y, 1) of the result to a point of the image, in units of half the image's side,
            the middle at 0.

    Returns:
        [B, C, H, W].
    """
    _, channels, height, width = images.shape
    rows = _centres(height, images)
    columns = _centres(width, images)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # [3, H W]
    source = maps @ places  # [B, 2, H W]
    left, right, share_x = _neighbours(source[:, 0], width)
    upper, lower, share_y = _neighbours(source[:, 1], height)
    flat = images.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        index = (row * width + column).unsqueeze(1).expand(-1, channels, -1)
        return flat.gather(2, index)

    share_x, share_y = share_x.unsqueeze(1), share_y.unsqueeze(1)
    above = at(upper, left) * (1 - share_x) + at(upper, right) * share_x
    below = at(lower, left) * (1 - share_x) + at(lower, right) * share_x
    return (above * (1 - share_y) + below * share_y).reshape(images.shape)


def rotation(angles: Tensor) -> Tensor:
    """Matrices of rotations about the centre.

    Args:
        angles: [B, 1], radians.

    Returns:
        [B, 2, 2].
    """
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)], 1)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Matrices of scalings about the centre.

    Args:
        x: [B, 1] factors across.
        y: [B, 1] factors down.

    Returns:
        [B, 2, 2].
    """
    return torch.diag_embed(torch.cat([x, y], 1))


def _centres(size: int, like: Tensor) -> Tensor:
    """Coordinates of the pixels' centres, in units of half the side."""
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels around each point, and the weight of the second."""
    position = ((place + 1) * size - 1) / 2
    period = 2 * size
    mirrored = torch.remainder(position + 1 / 2, period)  # mirrored at the outer edges of the pixels
    mirrored = torch.minimum(mirrored, period - mirrored) - 1 / 2
    mirrored = mirrored.clamp(0, size - 1)
    first = mirrored.floor()
    return first.long(), (first + 1).clamp(max=size - 1).long(), mirrored - first


@dataclass(frozen=True, kw_only=True)
class WarpsConfig:
    """The `[warps]` table: how far at most; every warp is drawn uniformly up to there, either way.

    Attributes:
        rotation: degrees.
        slant: columns that a row moves against its neighbour.
        stretch: factor of width and of height, each drawn by itself; at 1.16 they go from 1/1.16 to 1.16.
        shift: share of the side, across and down.
    """

    rotation: Annotated[float, Range(at_least=0, at_most=180)] = 12.0
    slant: Annotated[float, Range(at_least=0, at_most=1)] = 0.3
    stretch: Annotated[float, Range(at_least=1, at_most=2)] = 1.16
    shift: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.07


def warped(images: Tensor, config: WarpsConfig, numbers: NumberSource) -> Tensor:
    """Warp each image by its own random map.

    Args:
        images: [B, C, H, W].
        numbers: six a sample.

    Returns:
        [B, C, H, W]; uncovered pixels show the image mirrored at its edge.
    """
    chance = (2 * numbers.uniform(6) - 1).unsqueeze(2)
    turn, slant, across, down = chance[:, :4].unbind(1)
    slants = torch.eye(2, device=images.device).repeat(len(images), 1, 1)
    slants[:, 0, 1] = config.slant * slant[:, 0]
    linear = (
        rotation(turn * math.radians(config.rotation)) @ slants @ scaling(config.stretch**across, config.stretch**down)
    )
    moves = 2 * config.shift * chance[:, 4:]  # the side is two half sides
    return resample(images, torch.cat([linear, moves], dim=2))
