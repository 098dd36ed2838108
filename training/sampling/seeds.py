"""From seeds to a generator's inputs, as the service draws them: its sampler `philox-1`.

    words    Philox4x64-10, key (seed, domain), counter (block, candidate 0, redraw, 0)
    u        ((w >> 12) + 1/2) 2^-52, in (0, 1)
    latent   normal: Box-Muller of consecutive pairs, cosine first; uniform: 2u - 1; Gumbel: -log(-log u)
    label    floor(u K)
    code     floor(u size), or low + (high - low) u

With truncation a coordinate outside ±t takes its value from the next redraw. The service rounds every coordinate
correctly to float32; here it is computed in float64 and rounded, so that about one in 10^8 may differ in its last bit.

Shapes: N seeds, Z latent coordinates, Q codes, K width of the code tensor.

References:
    Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011), section 3.3.
    Box and Muller, A note on the generation of random normal deviates (1958), equation 1.
    Brock, Donahue and Simonyan, Large scale GAN training for high fidelity natural image synthesis (2019), section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.networks.base import Prior

LARGEST_SEED: Final = 2**63 - 1
LEAST_TRUNCATION: Final = 0.1  # below, redraws would take long
COUNTER_BITS: Final = 256

Uniforms = NDArray[np.float64]


class Domain(IntEnum):
    """What a stream of words is for."""

    LATENT = 0
    LABEL = 1
    CODES = 2


@dataclass(frozen=True)
class CodeLayout:
    """The codes of a generator, in the order of its code tensor.

    Attributes:
        categorical: name and number of categories of each.
        continuous: name, low and high end of each.
    """

    categorical: tuple[tuple[str, int], ...]
    continuous: tuple[tuple[str, float, float], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Q names, in order."""
        return (*(name for name, _ in self.categorical), *(name for name, _, _ in self.continuous))


def uniforms(seeds: Sequence[int], domain: Domain, count: int, redraw: int = 0) -> Uniforms:
    """[N, count] in (0, 1): the first numbers of each seed's stream."""
    counter = ((redraw << 128) - 1) % (1 << COUNTER_BITS)  # NumPy increments it before the first block
    words = np.empty((len(seeds), count), np.uint64)
    for row, seed in enumerate(seeds):
        words[row] = np.random.Philox(key=seed + (int(domain) << 64), counter=counter).random_raw(count)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def latents(seeds: Sequence[int], size: int, prior: Prior, truncation: float | None = None) -> NDArray[np.float32]:
    """Draw the latents of seeds.

    Args:
        seeds: each in 0 … 2^63 - 1.
        size: Z.
        truncation: t, at least `LEAST_TRUNCATION`; None does not truncate. Not for Gumbel latents.

    Returns:
        [N, Z]; a row depends on its seed alone.
    """
    drawn, redraw = _drawn(seeds, size, prior, 0), 0
    while truncation is not None and (outside := np.abs(drawn.astype(np.float64)) > truncation).any():
        redraw += 1
        rows = np.flatnonzero(outside.any(axis=1))
        again = _drawn([seeds[row] for row in rows.tolist()], size, prior, redraw)
        drawn[rows] = np.where(outside[rows], again, drawn[rows])
    return drawn


def labels(seeds: Sequence[int], count: int) -> NDArray[np.int64]:
    """[N]: the class, below `count`, of seeds whose class is not given."""
    return np.floor(uniforms(seeds, Domain.LABEL, 1)[:, 0] * count).astype(np.int64)


def codes(seeds: Sequence[int], layout: CodeLayout) -> NDArray[np.float64]:
    """[N, Q]: categories, then numbers, of seeds whose codes are not given."""
    u, categories = uniforms(seeds, Domain.CODES, len(layout.names)), len(layout.categorical)
    sizes = np.array([size for _, size in layout.categorical], np.float64)
    low, high = np.array([ends for _, *ends in layout.continuous], np.float64).reshape(-1, 2).T
    numbers = np.clip(low + (high - low) * u[:, categories:], low, high)
    return np.concatenate((np.floor(u[:, :categories] * sizes), numbers), axis=1)


def code_tensor(values: NDArray[np.float64], layout: CodeLayout) -> NDArray[np.float32]:
    """Write codes [N, Q] as a generator takes them, [N, K]: one-hot categories, then numbers."""
    parts = [np.eye(size)[values[:, place].astype(np.int64)] for place, (_, size) in enumerate(layout.categorical)]
    return np.concatenate((*parts, values[:, len(parts) :]), axis=1).astype(np.float32)


def _drawn(seeds: Sequence[int], size: int, prior: Prior, redraw: int) -> NDArray[np.float32]:
    u = uniforms(seeds, Domain.LATENT, size + size % 2, redraw)
    if prior == "uniform":
        return (2 * u[:, :size] - 1).astype(np.float32)
    if prior == "gumbel":
        return (-np.log(-np.log(u[:, :size]))).astype(np.float32)
    radius, angle = np.sqrt(-2 * np.log(u[:, 0::2])), 2 * np.pi * u[:, 1::2]
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=2)
    return np.ascontiguousarray(pairs.reshape(u.shape)[:, :size]).astype(np.float32)
