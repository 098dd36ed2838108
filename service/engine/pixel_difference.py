"""How far a generator's pixels are from those that its exporter saw, and how far is too far.

In fp32 nearly every pixel is the exporter's, and the package states what may differ. Arithmetic of fewer bits is
another matter: it shifts many pixels a little, nobody's tolerance was made for it, and whether that is worth its speed
is for people to judge. So it is measured, told with every package that is served so, and refused beyond a bound.

Shapes: B batch, H W height and width, C channels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# In steps of 1/255. Of a mean below one step, no display of eight bits a channel shows more than single pixels; a tenth
# of the range in one pixel is what the edge of a stroke may lose and a wrong kernel passes by far.
LARGEST_STEPS = 26
MEAN_STEPS = 1.0


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """What two pictures of the same latents differ by.

    Attributes:
        largest: of one pixel, in steps of 1/255.
        mean: over all pixels, likewise.
        share: of the pixels that differ at all, in [0, 1].
    """

    largest: int
    mean: float
    share: float

    @classmethod
    def between(cls, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> "PixelDifference":
        """Measure it.

        Args:
            left: [B, H, W, C].
            right: likewise.
        """
        steps = np.abs(left.astype(np.int16) - right)
        return cls(int(steps.max()), float(steps.mean()), float(np.count_nonzero(steps) / steps.size))

    @property
    def is_bearable(self) -> bool:
        """Whether it is within the bound of reduced precision."""
        return self.largest <= LARGEST_STEPS and self.mean <= MEAN_STEPS

    def __str__(self) -> str:
        return f"{self.largest} steps at most, {self.mean:.3g} on average, in {self.share:.3g} of the pixels"
