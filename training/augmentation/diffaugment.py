"""DiffAugment: colour, translation and cutout, always, for real and generated samples alike.

References:
    Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training (2020), equations 4 to 6, section 3.3; the
    ranges are those of the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor

from training.augmentation.random_numbers import NumberSource

TRANSLATION_RATIO = 1 / 8  # of the side, at most
CUTOUT_RATIO = 1 / 2  # of the side, always

Policy = Literal["color", "translation", "cutout"]
ALL: Final[tuple[Policy, ...]] = ("color", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class DiffAugmentConfig:
    """The `[augmentation]` table of kind "diffaugment".

    Attributes:
        policies: which of the three, in order.
    """

    kind: ClassVar[str] = "diffaugment"

    policies: tuple[Policy, ...] = ALL


class DiffAugment:
    """The augmentation; it has no state."""

    def __init__(self, config: DiffAugmentConfig) -> None:
        self._steps = [{"color": color, "translation": translation, "cutout": cutout}[name] for name in config.policies]

    def __call__(self, images: Tensor, numbers: NumberSource) -> Tensor:
        """Augment images [B, C, H, W]."""
        for step in self._steps:
            images = step(images, numbers)
        return images

    def observe(self, _real_sign: Tensor, _batch_size: int) -> None:
        """No-op: the augmentation does not adapt."""

    def state(self) -> dict[str, float]:
        """No state."""
        return {}

    def restore(self, _state: dict[str, float]) -> None:
        """No state."""


def color(images: Tensor, numbers: NumberSource) -> Tensor:
    """Brightness by -1/2 to 1/2, saturation by a factor of 0 to 2, contrast by 1/2 to 3/2.

    Args:
        images: [B, C, H, W].
        numbers: three a sample.

    Returns:
        [B, C, H, W].
    """
    brightness, saturation, contrast = numbers.uniform(3)[:, :, None, None, None].unbind(1)
    images = images + (brightness - 1 / 2)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 1 / 2) + mean


def translation(images: Tensor, numbers: NumberSource) -> Tensor:
    """Move by up to an eighth of each side; uncovered pixels get the middle of the range.

    Args:
        images: [B, C, H, W].
        numbers: two a sample.

    Returns:
        [B, C, H, W].
    """
    batch, channels, height, width = images.shape
    draw = numbers.uniform(2)
    down, right = (_steps(draw[:, axis], size) for axis, size in ((0, height), (1, width)))
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
    index = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    moved = images.flatten(2).gather(2, index.reshape(batch, 1, -1).expand(-1, channels, -1)).reshape(images.shape)
    return moved * inside


def cutout(images: Tensor, numbers: NumberSource) -> Tensor:
    """Blank a window of half of each side, anywhere, with the middle of the range.

    Args:
        images: [B, C, H, W].
        numbers: two a sample.

    Returns:
        [B, C, H, W].
    """
    _, _, height, width = images.shape
    draw = numbers.uniform(2)
    cut = [_window(draw[:, axis], size, int(size * CUTOUT_RATIO + 1 / 2)) for axis, size in ((0, height), (1, width))]
    return images * ~(cut[0][:, None, :, None] & cut[1][:, None, None, :])


def _steps(uniform: Tensor, size: int) -> Tensor:
    """Whole pixels from -size/8 to size/8, equally likely, [B]."""
    most = int(size * TRANSLATION_RATIO + 1 / 2)
    return (uniform * (2 * most + 1)).long() - most


def _within(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def _window(uniform: Tensor, size: int, window: int) -> Tensor:
    """Mask of the pixels in a window whose centre is uniform, [B, size]."""
    start = (uniform * (size + (1 - window % 2))).long() - window // 2
    places = torch.arange(size, device=uniform.device)
    return (places >= start[:, None]) & (places < start[:, None] + window)
