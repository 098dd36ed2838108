"""Pixels back to a sample: the one function that does it.

`/score` of an image and the scores of `/generate` both come through here, which is why a sample's `realness` equals the
score of its own PNG bit for bit. The way there, sample to pixels, is part of the generator's graph.

Shapes: N samples, C channels, H height, W width.
"""

import numpy as np
from numpy.typing import NDArray

PIXEL_MAX = np.float32(255)


def dequantise(pixels: NDArray[np.uint8], sample_range: tuple[float, float]) -> NDArray[np.float32]:
    """Turn pixels into what a discriminator takes.

    Args:
        pixels: [N, H, W, C].
        sample_range: (lo, hi) of the sample's values.

    Returns:
        [N, C, H, W], lo + (hi − lo)·u/255 in float32, in this order: multiplied, divided, added.
    """
    lo, hi = np.float32(sample_range[0]), np.float32(sample_range[1])
    return np.ascontiguousarray((lo + (hi - lo) * pixels.astype(np.float32) / PIXEL_MAX).transpose(0, 3, 1, 2))
