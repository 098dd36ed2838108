"""Pixels of eight bits: back to a sample's values, and how far two pictures of the same latents differ.

`/score` of an image and the scores of `/generate` both dequantise here, so that a sample's `realness` equals the score
of its own PNG bit for bit. The way from sample to pixels is part of the generator's graph.

Shapes: N samples, C channels, H height, W width.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIXEL_MAX = np.float32(255)
# In steps of 1/255. A mean below one step shows on no display of eight bits a channel; a tenth of the range in one
# pixel is what the edge of a stroke may lose, and a wrong kernel exceeds it by far.
LARGEST_STEPS = 26
MEAN_STEPS = 1.0


def dequantise(pixels: NDArray[np.uint8], sample_range: tuple[float, float]) -> NDArray[np.float32]:
    """Turn pixels into the values that a discriminator takes.

    Args:
        pixels: [N, H, W, C].
        sample_range: (lo, hi) of the values.

    Returns:
        [N, C, H, W], lo + (hi − lo)·u/255 in float32, in this order: multiplied, divided, added.
    """
    lo, hi = np.float32(sample_range[0]), np.float32(sample_range[1])
    return np.ascontiguousarray((lo + (hi - lo) * pixels.astype(np.float32) / PIXEL_MAX).transpose(0, 3, 1, 2))


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """The difference between two pictures.

    Attributes:
        largest: of one pixel, in steps of 1/255.
        mean: over all pixels, in steps of 1/255.
        share: of the pixels that differ at all, in [0, 1].
    """

    largest: int
    mean: float
    share: float

    @classmethod
    def between(cls, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> "PixelDifference":
        """Measure it between pictures [N, H, W, C]."""
        steps = np.abs(left.astype(np.int16) - right)
        return cls(int(steps.max()), float(steps.mean()), float(np.count_nonzero(steps) / steps.size))

    @property
    def is_acceptable(self) -> bool:
        """Whether it is within the bound of reduced precision."""
        return self.largest <= LARGEST_STEPS and self.mean <= MEAN_STEPS

    def __str__(self) -> str:
        return f"{self.largest} steps at most, {self.mean:.3g} on average, in {self.share:.3g} of the pixels"
