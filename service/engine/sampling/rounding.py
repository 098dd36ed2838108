"""Latent coordinates in fifty decimal digits, rounded once to float32.

The sampler computes in float64 and uses this module only for the rare coordinate (about 7 in 10⁶) whose float64 value
lies so near the middle of two float32 numbers that the last bits of the machine's logarithm or cosine would decide.
`decimal` is exact integer arithmetic, the same on every machine. A normal coordinate is never a tie: a logarithm of a
rational number other than 1 is transcendental, and so is its root times an algebraic cosine.

References:
    Ziv, Fast evaluation of elementary mathematical functions with correctly rounded last bit (1991).
"""

from decimal import Context, Decimal, localcontext

import numpy as np

# Neighbouring float32 numbers differ after 8 digits; 21 decided every coordinate of a search among millions.
DIGITS = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def normal(u1: float, u2: float) -> tuple[np.float32, np.float32]:
    """The Box–Muller pair of two uniform numbers, each rounded once.

    Args:
        u1: in (0, 1), exact.
        u2: in (0, 1), exact.

    Returns:
        The cosine's and the sine's coordinate.
    """
    with localcontext(Context(prec=DIGITS)):
        radius = (-2 * Decimal(u1).ln()).sqrt()
        cosine, sine = _cosine_and_sine(2 * PI * Decimal(u2))
        return _nearest(radius * cosine), _nearest(radius * sine)


def gumbel(u: float) -> np.float32:
    """The Gumbel coordinate of a uniform number, rounded once.

    Args:
        u: in (0, 1), exact.
    """
    with localcontext(Context(prec=DIGITS)):
        return _nearest(-(-Decimal(u).ln()).ln())


def _cosine_and_sine(angle: Decimal) -> tuple[Decimal, Decimal]:
    """Taylor's series; `angle` in [0, 2π]."""
    sums = [Decimal(0), Decimal(0)]
    term, order = Decimal(1), 0
    while abs(term) > Decimal(10) ** -DIGITS:
        sums[order % 2] += term if order % 4 < 2 else -term  # noqa: PLR2004 - the series' signs: + + − −
        order += 1
        term *= angle / order
    return sums[0], sums[1]


def _nearest(value: Decimal) -> np.float32:
    """The float32 nearest to `value`; conversion through float64 alone would round twice."""
    about = np.float32(float(value))
    candidates = (about, np.nextafter(about, np.float32(-np.inf)), np.nextafter(about, np.float32(np.inf)))
    return min(candidates, key=lambda candidate: abs(Decimal(float(candidate)) - value))
