"""Seeds to latents: a sample depends on its seed and nothing else.

Two samplers. `philox-1` is ours and frozen:

    words   Philox4x64-10 with key (seed, domain) and counter (block, 0, 0, 0), block = 0, 1, … along the latent
    u       ((w >> 12) + ½)·2⁻⁵², exact in float64, never 0 or 1
    normal  Box–Muller on consecutive pairs, cosine first; uniform 2u − 1; Gumbel −log(−log u); rounded to float32

`numpy-legacy` is `RandomState(seed).randn(1, Z)`, whose stream NumPy has frozen, so that published seeds reproduce.

*The same on every machine* is made a property rather than a hope. Logarithm and cosine differ between machines in
their last bits (vector units, C libraries), so float64 only proposes: where everything within the error bound of the
proposal rounds to one float32, that float32 is the rounded true value, whatever the machine; where it does not, the
coordinate is settled in `service/engine/exact.py`. The words come from NumPy's Philox, re-keyed for each seed: the raw
words of a bit generator are fixed by its algorithm, and NumPy's distributions, whose streams may change, are not used.

Shapes: N samples, Z latent coordinates, Q codes, W words.

References:
    Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011), section 3.3 and table 2.
    Box and Muller, A note on the generation of random normal deviates (1958), equation 1.
"""

import threading
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from service.engine import exact
from service.engine.graphs import CodeSpec, Prior
from service.engine.port import SamplerName
from service.errors import InvalidRequest, Problem

# RandomState takes no larger seed.
LARGEST_LEGACY_SEED = 2**32 - 1

# Far above what any float64 log, sqrt, cos and sin err together (8 units in the last place are 2⁻⁴⁹), and still only
# 2⁻²¹ of a float32's own spacing.
ERROR_BOUND = 2.0**-45

_WORDS_PER_BLOCK = 4
_WORD_MAX = np.iinfo(np.uint64).max
_DROPPED_BITS = np.uint64(12)
_U_STEP = 2.0**-52


class Domain(IntEnum):
    """What a stream of words is for; the second half of Philox's key."""

    LATENT = 0
    LABEL = 1
    CODES = 2


def latents(
    seeds: NDArray[np.uint64], size: int, prior: Prior, sampler: SamplerName = "philox-1"
) -> NDArray[np.float32]:
    """The latents of some seeds.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        size: Z, at least 1.
        prior: the distribution of each coordinate. Rounding may carry a uniform coordinate to −1 or 1 itself.
        sampler: how a seed becomes a latent.

    Returns:
        [N, Z]; row i depends on `seeds[i]` alone.

    Raises:
        InvalidRequest: `numpy-legacy` with a prior that is not normal or a seed above 2³² − 1.
    """
    check_seeds(seeds, prior, sampler)
    if sampler == "numpy-legacy":
        return _legacy_normal(seeds, size)
    u = _uniforms(seeds, Domain.LATENT, size + size % 2)
    match prior:
        case "standard_normal":
            return np.ascontiguousarray(_normal(u)[:, :size])
        case "uniform":
            return (2 * u[:, :size] - 1).astype(np.float32)
        case "gumbel":
            return _gumbel(u[:, :size])


def labels(seeds: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """The classes of some seeds, for samples whose caller names none.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        count: K classes, at most 2¹⁶; so u·K < K holds after rounding too.

    Returns:
        [N], floor(u·K) of the first word of the label's stream.
    """
    return np.floor(_uniforms(seeds, Domain.LABEL, 1)[:, 0] * count).astype(np.int64)


def codes(seeds: NDArray[np.uint64], spec: CodeSpec) -> NDArray[np.float64]:
    """The codes of some seeds, for samples whose caller names none or not all.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        spec: which codes there are.

    Returns:
        [N, Q]; code j is made of word j of the codes' stream, whatever the other codes are: floor(u·size) where it is
        categorical, low + (high − low)·u where it is continuous.
    """
    u = _uniforms(seeds, Domain.CODES, spec.count)
    categories = len(spec.categorical)
    values = np.floor(u[:, :categories] * np.array(spec.categorical, np.float64))
    low, high = np.array(spec.continuous, np.float64).reshape(-1, 2).T
    numbers = np.clip(low + (high - low) * u[:, categories:], low, high)  # rounding could carry it beyond `high`
    return np.concatenate((values, numbers), axis=1)


def check_seeds(seeds: NDArray[np.uint64], prior: Prior, sampler: SamplerName) -> None:
    """Refuse what a sampler cannot do.

    Raises:
        InvalidRequest: as `latents` says.
    """
    if sampler != "numpy-legacy":
        return
    if prior != "standard_normal":
        raise InvalidRequest(Problem(("sampler",), f"numpy-legacy draws normal latents; this package's are {prior}"))
    too_large = np.flatnonzero(seeds > LARGEST_LEGACY_SEED)
    if too_large.size:
        place = int(too_large[0])
        message = f"numpy-legacy takes seeds up to {LARGEST_LEGACY_SEED}, not {seeds[place]}"
        raise InvalidRequest(Problem(("seeds", place), message))


class _Stream(threading.local):
    """One re-keyed Philox a thread: a new one for each seed would cost four times as much."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(0)
        self._key = np.zeros(2, np.uint64)
        # NumPy steps the counter before it makes a block, so that the block before the first is all ones.
        counter = np.full(_WORDS_PER_BLOCK, _WORD_MAX, np.uint64)
        self._start = self._philox.state
        self._start["state"] = {"counter": counter, "key": self._key}

    def words(self, seeds: NDArray[np.uint64], domain: Domain, count: int) -> NDArray[np.uint64]:
        """The first `count` words of each seed's stream, [N, W]."""
        words = np.empty((len(seeds), count), np.uint64)
        self._key[1] = domain
        for row, seed in zip(words, seeds, strict=True):
            self._key[0] = seed
            self._philox.state = self._start
            row[:] = self._philox.random_raw(count)
        return words


_stream = _Stream()


def _uniforms(seeds: NDArray[np.uint64], domain: Domain, count: int) -> NDArray[np.float64]:
    """[N, W] numbers inside (0, 1), each an odd multiple of 2⁻⁵³ and so exact."""
    return ((_stream.words(seeds, domain, count) >> _DROPPED_BITS).astype(np.float64) + 0.5) * _U_STEP


def _normal(u: NDArray[np.float64]) -> NDArray[np.float32]:
    """Box–Muller: [N, W] uniform to [N, W] normal, W even."""
    radius = np.sqrt(-2 * np.log(u[:, 0::2]))[..., np.newaxis]
    angle = 2 * np.pi * u[:, 1::2]
    proposal = radius * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    rounded, unsure = _round(proposal, radius * ERROR_BOUND)
    for row, pair, which in unsure:
        rounded[row, pair, which] = exact.normal(u[row, 2 * pair], u[row, 2 * pair + 1])[which]
    return rounded.reshape(u.shape)


def _gumbel(u: NDArray[np.float64]) -> NDArray[np.float32]:
    """[N, W] uniform to [N, W] Gumbel."""
    proposal = -np.log(-np.log(u))
    rounded, unsure = _round(proposal, (1 + np.abs(proposal)) * ERROR_BOUND)
    for row, column in unsure:
        rounded[row, column] = exact.gumbel(u[row, column])
    return rounded


def _round(proposal: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Round to float32, and say where the error decides the rounding.

    Returns:
        The rounded proposal, and the indices [M, proposal.ndim] of the M coordinates that must be settled exactly.
    """
    rounded = (proposal - error).astype(np.float32)
    return rounded, np.argwhere(rounded != (proposal + error).astype(np.float32))


def _legacy_normal(seeds: NDArray[np.uint64], size: int) -> NDArray[np.float32]:
    """What StyleGAN's scripts draw for a seed."""
    rows = [np.random.RandomState(int(seed)).randn(1, size) for seed in seeds]
    return np.concatenate(rows).astype(np.float32) if rows else np.empty((0, size), np.float32)
