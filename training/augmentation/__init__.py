"""Augmentations of what the discriminator is shown, where data is scarce; `KINDS` lists the ways.

In: samples [B, C, H, W] and random numbers. Out: samples of the same shape, differentiable; real and generated samples
are treated alike, in the generator's step too, so the generator learns the data and not its augmented copies.
May import tables.
"""

from typing import Final, assert_never

import torch

from training.augmentation.adaptive import Adaptive, AdaptiveConfig
from training.augmentation.diffaugment import DiffAugment, DiffAugmentConfig
from training.augmentation.random_numbers import NumberSource, RandomNumbers, SharedNumbers
from training.augmentation.warps import WarpsConfig, warped

AugmentationConfig = DiffAugmentConfig | AdaptiveConfig
Augmentation = DiffAugment | Adaptive

KINDS: Final[dict[str, type[AugmentationConfig]]] = {kind.kind: kind for kind in (DiffAugmentConfig, AdaptiveConfig)}

__all__ = [
    "KINDS",
    "Augmentation",
    "AugmentationConfig",
    "NumberSource",
    "RandomNumbers",
    "SharedNumbers",
    "WarpsConfig",
    "build",
    "warped",
]


def build(config: AugmentationConfig, device: torch.device) -> Augmentation:
    """Make the augmentation of a configuration.

    Args:
        config: the `[augmentation]` table.
        device: of the samples.
    """
    match config:
        case DiffAugmentConfig():
            return DiffAugment(config)
        case AdaptiveConfig():
            return Adaptive(config, device)
        case _:
            assert_never(config)
