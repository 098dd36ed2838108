"""Seeds to latents, labels and codes: a sample depends on its seed and nothing else.

There are two samplers. `philox-1` is frozen:

    words   Philox4x64-10 (`sampling/philox.py`), key (seed, domain), counter (block, candidate, redraw, 0)
    u       ((w >> 12) + ½)·2⁻⁵², exact in float64, never 0 or 1
    normal  Box–Muller on consecutive pairs, cosine first; uniform 2u − 1; Gumbel −log(−log u); rounded to float32

A seed has many candidates, among which the discriminator may select (`sampling/selection.py`); without a selection
candidate 0 is used. With truncation a coordinate outside ±t takes its value from the next redraw of the same candidate,
until one is inside, so it depends on no other coordinate.

`numpy-legacy` is `RandomState(seed).randn(1, Z)`, whose stream NumPy has frozen, so that published seeds reproduce. It
has one stream per seed, without candidates or redraws.

The bytes are the same on every machine. Logarithm and cosine differ between machines in their last bits (vector units,
C libraries), so float64 gives a proposal only: where everything within the error bound of the proposal rounds to one
float32, that float32 is the rounded true value on every machine; elsewhere `sampling/rounding.py` computes the
coordinate.

Shapes: N samples, Z latent coordinates, Q codes, W words.

References:
    Box and Muller, A note on the generation of random normal deviates (1958), equation 1.
    Brock, Donahue and Simonyan, Large scale GAN training for high fidelity natural image synthesis (2019), section 3.1:
    values outside a threshold are resampled.
"""

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import LEAST_TRUNCATION, SamplerName
from service.engine.model_spec import CodeSpec, Prior
from service.engine.sampling import rounding
from service.engine.sampling.philox import Domain, Seeds, uniforms
from service.errors import InvalidRequest, Problem

# RandomState takes no larger seed.
LARGEST_LEGACY_SEED = 2**32 - 1

# Far above the joint error of any float64 log, sqrt, cos and sin (8 units in the last place are 2⁻⁴⁹), and still only
# 2⁻²¹ of the spacing of float32.
ERROR_BOUND = 2.0**-45

# About one coordinate in a million is unsure: `argwhere` costs more than counting.
_NOWHERE = np.empty((0, 0), np.intp)


def latents(
    seeds: Seeds,
    size: int,
    prior: Prior,
    sampler: SamplerName = "philox-1",
    *,
    candidates: Seeds | None = None,
    truncation: float | None = None,
) -> NDArray[np.float32]:
    """The latents of some seeds.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        size: Z, at least 1.
        prior: the distribution of each coordinate. Rounding may carry a uniform coordinate to −1 or 1 itself.
        candidates: [N], which candidate of its seed each latent is; None means 0, the first, for all.
        truncation: t, at least 0.1: no coordinate is outside ±t; None does not truncate.

    Returns:
        [N, Z]; row i depends on `seeds[i]` and `candidates[i]` alone. The arguments must be such that `check_seeds` and
        `check_redraws` pass.
    """
    if sampler == "numpy-legacy":
        return _legacy_normal(seeds, size)
    drawn = _drawn(seeds, size, prior, candidates, redraw=0)
    if truncation is None:
        return drawn
    redraw = 0
    rows, outside = np.arange(len(seeds)), _outside(drawn, truncation)
    while outside.any():
        redraw += 1
        left = outside.any(axis=1)
        rows, outside = rows[left], outside[left]
        again = _drawn(seeds[rows], size, prior, None if candidates is None else candidates[rows], redraw)
        drawn[rows] = np.where(outside, again, drawn[rows])
        outside &= _outside(again, truncation)
    return drawn


def labels(seeds: Seeds, count: int) -> NDArray[np.int64]:
    """The classes of some seeds, for samples without a given class.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        count: K classes, at most 2¹⁶; so u·K < K holds after rounding too.

    Returns:
        [N], floor(u·K) of the first word of the label's stream.
    """
    return np.floor(uniforms(seeds, Domain.LABEL, 1)[:, 0] * count).astype(np.int64)


def codes(seeds: Seeds, spec: CodeSpec) -> NDArray[np.float64]:
    """The codes of some seeds, for samples whose codes are not all given.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.

    Returns:
        [N, Q]; code j comes from word j of the codes' stream, whatever the other codes are: floor(u·size) where it is
        categorical, low + (high − low)·u where it is continuous.
    """
    u = uniforms(seeds, Domain.CODES, spec.count)
    categories = len(spec.categorical)
    values = np.floor(u[:, :categories] * np.array(spec.categorical, np.float64))
    low, high = np.array(spec.continuous, np.float64).reshape(-1, 2).T
    numbers = np.clip(low + (high - low) * u[:, categories:], low, high)  # rounding could carry it beyond `high`
    return np.concatenate((values, numbers), axis=1)


def check_seeds(seeds: Seeds, prior: Prior, sampler: SamplerName) -> None:
    """Refuse seeds that a sampler cannot take.

    Raises:
        InvalidRequest: `numpy-legacy` is asked for another prior than the normal one, or gets a seed above 2³² − 1.
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


def check_redraws(prior: Prior, sampler: SamplerName, truncation: float | None, *, has_candidates: bool) -> None:
    """Refuse truncation and candidates where there are none.

    Raises:
        InvalidRequest: truncation or candidates with `numpy-legacy`, truncation below 0.1 or of Gumbel noise.
    """
    if sampler == "numpy-legacy" and (truncation is not None or has_candidates):
        place = "candidates" if has_candidates else "truncation"
        raise InvalidRequest(Problem((place,), "numpy-legacy has one drawing a seed and no other; use philox-1"))
    if truncation is None:
        return
    if not truncation >= LEAST_TRUNCATION:
        raise InvalidRequest(Problem(("truncation",), f"must be {LEAST_TRUNCATION} or more"))
    if prior == "gumbel":
        words = "with this package's Gumbel noise an item is an exact draw; truncated, it would be a draw of nothing"
        raise InvalidRequest(Problem(("truncation",), words))


def _drawn(seeds: Seeds, size: int, prior: Prior, candidates: Seeds | None, redraw: int) -> NDArray[np.float32]:
    """[N, Z] by `philox-1`: one redraw of one candidate of each seed."""
    u = uniforms(seeds, Domain.LATENT, size + size % 2, candidates, redraw)
    match prior:
        case "standard_normal":
            return np.ascontiguousarray(_normal(u)[:, :size])
        case "uniform":
            return (2 * u[:, :size] - 1).astype(np.float32)
        case "gumbel":
            return _gumbel(u[:, :size])


def _outside(drawn: NDArray[np.float32], truncation: float) -> NDArray[np.bool_]:
    """Which coordinates lie outside ±t, compared in float64, where both are exact."""
    return np.abs(drawn.astype(np.float64)) > truncation


def _normal(u: NDArray[np.float64]) -> NDArray[np.float32]:
    """Box–Muller: [N, W] uniform to [N, W] normal, W even."""
    radius = np.sqrt(-2 * np.log(u[:, 0::2]))[..., np.newaxis]
    angle = 2 * np.pi * u[:, 1::2]
    proposal = np.empty((*angle.shape, 2))
    proposal[..., 0], proposal[..., 1] = np.cos(angle), np.sin(angle)
    proposal *= radius
    rounded, unsure = _round(proposal, radius * ERROR_BOUND)
    for row, pair, which in unsure:
        rounded[row, pair, which] = rounding.normal(u[row, 2 * pair], u[row, 2 * pair + 1])[which]
    return rounded.reshape(u.shape)


def _gumbel(u: NDArray[np.float64]) -> NDArray[np.float32]:
    """[N, W] uniform to [N, W] Gumbel."""
    proposal = -np.log(-np.log(u))
    rounded, unsure = _round(proposal, (1 + np.abs(proposal)) * ERROR_BOUND)
    for row, column in unsure:
        rounded[row, column] = rounding.gumbel(u[row, column])
    return rounded


def _round(proposal: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Round to float32.

    Returns:
        The rounded proposal, and the indices of the coordinates whose rounding the error could change.
    """
    rounded = (proposal - error).astype(np.float32)
    differs = rounded != (proposal + error).astype(np.float32)
    return rounded, np.argwhere(differs) if np.count_nonzero(differs) else _NOWHERE


def _legacy_normal(seeds: Seeds, size: int) -> NDArray[np.float32]:
    """What StyleGAN's scripts draw for a seed."""
    rows = [np.random.RandomState(int(seed)).randn(1, size) for seed in seeds]
    return np.concatenate(rows).astype(np.float32) if rows else np.empty((0, size), np.float32)
