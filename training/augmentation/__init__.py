"""What the discriminator is shown instead of the samples, where data is scarce; `KINDS` lists the ways.

An augmentation is a differentiable function of samples and of random numbers, applied to real and to generated samples
alike whenever the discriminator judges, in the generator's step too: so the generator learns the data, and not its
augmented copies. Images only. (`warps`, which tell a code head what to overlook, are made of the same parts.)

Shapes: B batch, C H W channels, height and width.
"""

from typing import Final, assert_never

from training.augmentation.adaptive import Adaptive, AdaptiveConfig
from training.augmentation.diffaugment import DiffAugment, DiffAugmentConfig
from training.augmentation.numbers import Numbers
from training.augmentation.warps import WarpsConfig, warped

AugmentationConfig = DiffAugmentConfig | AdaptiveConfig
Augmentation = DiffAugment | Adaptive

KINDS: Final[dict[str, type[AugmentationConfig]]] = {kind.kind: kind for kind in (DiffAugmentConfig, AdaptiveConfig)}

__all__ = ["KINDS", "Augmentation", "AugmentationConfig", "Numbers", "WarpsConfig", "build", "warped"]


def build(config: AugmentationConfig) -> Augmentation:
    """Make the augmentation of a configuration.

    Args:
        config: the `[augmentation]` table.

    Returns:
        It, at the start of a run.
    """
    match config:
        case DiffAugmentConfig():
            return DiffAugment(config)
        case AdaptiveConfig():
            return Adaptive(config)
        case _:
            assert_never(config)
