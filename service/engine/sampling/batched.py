"""Codes as values, and as the tensor that a generator takes: one-hot vectors, then numbers.

A caller names a categorical code by its value and a continuous one by its number; InfoGAN's generator takes all of them
in one tensor. This is the way there, and it stands alone because the sampler draws values without knowing the tensor.
Pure.

Shapes: N samples, Q codes, K elements of the code tensor.

References:
    Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets
    (2016), section 7.2: one code of ten values and two of U(−1, 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import SamplerName
from service.engine.model_spec import Array, CodeSpec, Prior
from service.engine.sampling import sampler
from service.engine.sampling.philox import Seeds


def code_tensor(codes: NDArray[np.float64], spec: CodeSpec) -> NDArray[np.float32]:
    """Write codes as a generator takes them.

    Args:
        codes: [N, Q], values of the categorical codes, then numbers of the continuous ones.
        spec: which codes there are.

    Returns:
        [N, K], each categorical code as a one-hot vector, then the continuous codes, rounded to float32.
    """
    categories = len(spec.categorical)
    tensor = np.zeros((len(codes), spec.width), np.float32)
    starts = np.cumsum((0, *spec.categorical))[:categories]
    hot = (starts + codes[:, :categories]).astype(np.intp)
    np.put_along_axis(tensor, hot, 1, axis=1)
    tensor[:, spec.width - len(spec.continuous) :] = codes[:, categories:]
    return tensor


def misfit(codes: NDArray[np.float64], spec: CodeSpec) -> tuple[int, int] | None:
    """Find a code that is not one of its values, or not between its bounds.

    Args:
        codes: [N, Q]; NaN fits everywhere, it is a code left out.
        spec: which codes there are.

    Returns:
        The sample and the code of the first misfit; None where all fit.
    """
    low, high = np.array([(0, size - 1) for size in spec.categorical] + list(spec.continuous), np.float64).T
    broken = (codes < low) | (codes > high)
    values = codes[:, : len(spec.categorical)]
    broken[:, : len(spec.categorical)] |= ~np.isnan(values) & (values != np.floor(values))
    places = np.argwhere(broken)
    return None if not len(places) else (int(places[0, 0]), int(places[0, 1]))


class SamplingSpec(Protocol):
    """How seeds become rows: hashable, so that what is equal shares a drawing."""

    def __hash__(self) -> int: ...

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> Array:
        """Rows [N, …] of seeds [N]; row i depends on `seeds[i]` and `candidates[i]` alone."""
        ...


class PendingSample(NamedTuple):
    """Rows that one request needs.

    Attributes:
        spec: what they are.
        seeds: [n].
        candidates: [n], which candidate of its seed each is; None is the first, 0, of all.
        take: is given the rows [n, …], a view that it does not keep.
    """

    spec: SamplingSpec
    seeds: Seeds
    candidates: Seeds | None
    take: Callable[[Array], None]


def sample_batched(draws: Sequence[PendingSample]) -> None:
    """PendingSample what several requests need, and give each its rows."""
    groups: dict[tuple[SamplingSpec, bool], list[PendingSample]] = {}
    for draw in draws:
        key = draw.spec, draw.candidates is None
        group = groups.get(key)
        if group is None:
            groups[key] = [draw]
        else:
            group.append(draw)
    for (spec, _), group in groups.items():
        _draw_group(spec, group)


def _draw_group(spec: SamplingSpec, group: Sequence[PendingSample]) -> None:
    if len(group) == 1:
        (draw,) = group
        draw.take(spec.draw(draw.seeds, draw.candidates))
        return
    candidates = [draw.candidates for draw in group if draw.candidates is not None]
    rows = spec.draw(np.concatenate([draw.seeds for draw in group]), np.concatenate(candidates) if candidates else None)
    start = 0
    for draw in group:
        stop = start + len(draw.seeds)
        draw.take(rows[start:stop])
        start = stop


# More than the packages and thresholds that callers use in a batch's time; of one that was forgotten there are two, and
# two drawings.
SPECS_KEPT = 64


@dataclass(frozen=True, eq=False, slots=True)
class LatentSampling:
    """Latents; the attributes are those of `sampler.latents`."""

    size: int
    prior: Prior
    sampler: SamplerName = "philox-1"
    truncation: float | None = None

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float32]:
        """[N, Z]."""
        return sampler.latents(
            seeds, self.size, self.prior, self.sampler, candidates=candidates, truncation=self.truncation
        )


@dataclass(frozen=True, eq=False, slots=True)
class LabelSampling:
    """Classes.

    Attributes:
        classes: how many there are.
    """

    classes: int

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.int64]:
        """[N]; all candidates of a seed have one class."""
        return sampler.labels(seeds, self.classes)


@dataclass(frozen=True, eq=False, slots=True)
class CodeSampling:
    """Codes.

    Attributes:
        spec: which there are.
    """

    spec: CodeSpec

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float64]:
        """[N, Q]; all candidates of a seed have the same codes."""
        return sampler.codes(seeds, self.spec)


@lru_cache(SPECS_KEPT)
def latent_sampling(
    size: int, prior: Prior, sampler: SamplerName = "philox-1", truncation: float | None = None
) -> LatentSampling:
    """The spec of these latents."""
    return LatentSampling(size, prior, sampler, truncation)


@lru_cache(SPECS_KEPT)
def label_sampling(classes: int) -> LabelSampling:
    """The spec of so many classes."""
    return LabelSampling(classes)


@lru_cache(SPECS_KEPT)
def code_sampling(spec: CodeSpec) -> CodeSampling:
    """The spec of these codes."""
    return CodeSampling(spec)
