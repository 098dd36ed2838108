"""Interpolation between two latents: linear, or spherical (slerp).

The line between two normal latents of many coordinates passes nearer to the origin than almost any latent that is
drawn, where a generator was never trained. The arc keeps their length. It is meant for normal latents only; those of a
uniform prior fill a box, which a line does not leave.

Shapes: N points, Z latent coordinates.

References:
    Shoemake, Animating rotation with quaternion curves (1985), section 3.3: slerp.
    White, Sampling generative networks (2016), section 2.1: slerp between latents.
    Kahan, How futile are mindless assessments of roundoff (2006), section 12: an angle that keeps its digits.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import Curve

Numbers = NDArray[np.float64]

# Where the sine of the angle is smaller, the latents are parallel as far as float32 can tell, or opposite, where no arc
# is shorter than another; in both cases the line is used.
SMALLEST_SINE = 1e-6


def between(
    first: NDArray[np.float32], last: NDArray[np.float32], positions: Numbers, curve: Curve
) -> NDArray[np.float32]:
    """Latents between `first` and `last`.

    Args:
        first: [Z], at position 0.
        last: [Z], at position 1.
        positions: [N], each in [0, 1].
        curve: `slerp` for the arc, `lerp` for the line.

    Returns:
        [N, Z]; at 0 and at 1 exactly `first` and `last`, each point a function of its own position.
    """
    start, end = first.astype(np.float64), last.astype(np.float64)
    angle = _angle(start, end) if curve == "slerp" else 0.0
    if math.sin(angle) < SMALLEST_SINE:
        from_start, from_end = 1 - positions, positions
    else:
        from_start = np.sin((1 - positions) * angle) / math.sin(angle)
        from_end = np.sin(positions * angle) / math.sin(angle)
    return (np.outer(from_start, start) + np.outer(from_end, end)).astype(np.float32)


def _angle(start: Numbers, end: Numbers) -> float:
    """The angle between two directions, in [0, π]."""
    start, end = start / _length(start), end / _length(end)
    return 2 * math.atan2(_length(start - end), _length(start + end))


def _length(vector: Numbers) -> float:
    """The Euclidean norm, summed exactly, so that it depends on no order of summation."""
    return math.sqrt(math.fsum(np.square(vector)))
