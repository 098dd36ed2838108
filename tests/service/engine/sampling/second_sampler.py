"""The sampler a second time, from its papers: slow, in Python's integers and its `math`, one number at a time.

It shares no code with the service and none with NumPy's generators, so that two mistakes would have to agree.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import Prior

WORD = 2**64


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """One block of Philox4x64-10 (Salmon et al. 2011, figure 2 and table 2)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, WORD)
        high1, low1 = divmod(0xCA5A826395121157 * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % WORD, (k1 + 0xBB67AE8584CAA73B) % WORD
    return c0, c1, c2, c3


def second_uniforms(seed: int, domain: int, count: int, candidate: int = 0, redraw: int = 0) -> list[float]:
    blocks = range(-(-count // 4))
    words = [word for block in blocks for word in philox((block, candidate, redraw, 0), (seed, domain))]
    return [((word >> 12) + 0.5) * 2.0**-52 for word in words[:count]]


def second_latent(
    seed: int, size: int, prior: Prior, candidate: int = 0, truncation: float | None = None
) -> NDArray[np.float32]:
    """One latent [Z]; with truncation, each coordinate asks for redraws of its own until it is inside."""
    drawings = [_drawing(seed, size, prior, candidate, redraw=0)]
    values = []
    for place in range(size):
        redraw = 0
        while truncation is not None and abs(float(drawings[redraw][place])) > truncation:
            redraw += 1
            if redraw == len(drawings):
                drawings.append(_drawing(seed, size, prior, candidate, redraw))
        values.append(drawings[redraw][place])
    return np.array(values, np.float32)


def _drawing(seed: int, size: int, prior: Prior, candidate: int, redraw: int) -> NDArray[np.float32]:
    u = second_uniforms(seed, 0, size + size % 2, candidate, redraw)
    match prior:
        case "uniform":
            values = [2 * each - 1 for each in u]
        case "gumbel":
            values = [-math.log(-math.log(each)) for each in u]
        case "standard_normal":
            values = []
            for u1, u2 in zip(u[0::2], u[1::2], strict=True):
                radius, angle = math.sqrt(-2 * math.log(u1)), 2 * math.pi * u2
                values += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.array(values[:size]).astype(np.float32)
