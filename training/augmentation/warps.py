"""Slight warps: images turned, slanted, stretched and moved by so little that they show what they showed.

They are no augmentation of the game, whose discriminator sees the images as they are; they say what a category may not
depend on (`training.objectives.infogan`).

Shapes: B batch, C H W channels, height and width.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from training.augmentation.numbers import Numbers
from training.augmentation.resampling import resample, rotation, scaling
from training.tables import Range


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


def warped(images: Tensor, config: WarpsConfig, numbers: Numbers) -> Tensor:
    """Warp each image in a way of its own.

    Args:
        images: [B, C, H, W].
        config: how far.
        numbers: six a sample.

    Returns:
        [B, C, H, W]; what comes in is the image mirrored at its edge.
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
