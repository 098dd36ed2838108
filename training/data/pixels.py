"""Conversion of pixels between bytes 0 … 255 and floats in [-1, 1].

The data, the grids and the package's graph must agree to the bit, so the two formulas are defined only here:

    x = LOW + (HIGH - LOW) * u / 255         u = round-half-even(255 * clip((x - LOW) / (HIGH - LOW), 0, 1))
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOW, HIGH = -1.0, 1.0  # the range of tanh
LARGEST_BYTE = 255


def tensor(samples: NDArray[np.generic]) -> Tensor:
    """Make a tensor of an array, of the same memory where the array may be written to.

    Args:
        samples: any shape; what is mapped from a file is not read for it.

    Returns:
        The same values. Of an array that is read-only a copy, since torch warns of others.
    """
    return torch.from_numpy(samples if samples.flags.writeable else samples.copy())


def to_floats(pixels: Tensor) -> Tensor:
    """Convert bytes to floats.

    Args:
        pixels: uint8, any shape.

    Returns:
        float32 in [-1, 1], same shape.
    """
    return LOW + (HIGH - LOW) * pixels.float() / LARGEST_BYTE


def to_bytes(samples: Tensor) -> Tensor:
    """Convert floats to the nearest bytes (even at ties).

    Args:
        samples: floats, any shape; values outside [-1, 1] are clipped.

    Returns:
        uint8, same shape.
    """
    return (LARGEST_BYTE * ((samples.float() - LOW) / (HIGH - LOW)).clamp(0, 1)).round().to(torch.uint8)
