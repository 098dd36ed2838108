"""Batched random sampling: one NumPy call per distribution for all requests of a batch.

Shapes: N seeds, n of one request, Z latent coordinates, Q codes.
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

# More than the packages and truncations in use within the time of a batch. Dropping one costs no more than a second
# call: specs compare by identity, and one that is made anew is another.
SPECS_KEPT = 64


class SamplingSpec(Protocol):
    """A distribution, and how seeds are mapped to it. Hashable: pending samples of equal specs share one call."""

    def __hash__(self) -> int: ...

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> Array:
        """Rows [N, …] of seeds [N]; row i depends on `seeds[i]` and `candidates[i]` alone."""
        ...


class PendingSample(NamedTuple):
    """Rows that one request needs.

    Attributes:
        seeds: [n].
        candidates: [n], which candidate of its seed each is; None means 0, the first, for all.
        take: called with the rows [n, …], a view that it must not keep.
    """

    spec: SamplingSpec
    seeds: Seeds
    candidates: Seeds | None
    take: Callable[[Array], None]


def sample_batched(pending: Sequence[PendingSample]) -> None:
    """Draw what several requests need, and give each its rows."""
    groups: dict[tuple[SamplingSpec, bool], list[PendingSample]] = {}
    for each in pending:
        groups.setdefault((each.spec, each.candidates is None), []).append(each)
    for (spec, _), group in groups.items():
        if len(group) == 1:
            group[0].take(spec.draw(group[0].seeds, group[0].candidates))
            continue
        seeds = np.concatenate([each.seeds for each in group])
        candidates = [each.candidates for each in group if each.candidates is not None]
        rows = spec.draw(seeds, np.concatenate(candidates) if candidates else None)
        start = 0
        for each in group:
            stop = start + len(each.seeds)
            each.take(rows[start:stop])
            start = stop


@dataclass(frozen=True, eq=False, slots=True)
class LatentSampling:
    """Latents; the attributes are arguments of `sampler.latents`."""

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
    """One of `classes` classes."""

    classes: int

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.int64]:
        """[N]; all candidates of a seed have the same class."""
        return sampler.labels(seeds, self.classes)


@dataclass(frozen=True, eq=False, slots=True)
class CodeSampling:
    """Codes."""

    spec: CodeSpec

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float64]:
        """[N, Q]; all candidates of a seed have the same codes."""
        return sampler.codes(seeds, self.spec)


@lru_cache(SPECS_KEPT)
def latent_sampling(
    size: int, prior: Prior, sampler: SamplerName = "philox-1", truncation: float | None = None
) -> LatentSampling:
    """The one `LatentSampling` of these arguments."""
    return LatentSampling(size, prior, sampler, truncation)


@lru_cache(SPECS_KEPT)
def label_sampling(classes: int) -> LabelSampling:
    """The one `LabelSampling` of so many classes."""
    return LabelSampling(classes)


@lru_cache(SPECS_KEPT)
def code_sampling(spec: CodeSpec) -> CodeSampling:
    """The one `CodeSampling` of these codes."""
    return CodeSampling(spec)
