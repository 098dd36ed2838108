"""What is drawn from seeds for a generator: latents, labels, codes, each with what it depends on beside the seed.

A recipe is one object however many requests follow it, so that theirs are known to be the same by identity and share
one drawing (`service/engine/draws.py`). The numbers are the sampler's.

Shapes: N seeds, Z latent coordinates, Q codes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.graphs import CodeSpec, Prior
from service.engine.philox import Seeds
from service.engine.port import SamplerName

# More than the packages and thresholds that callers use in a batch's time; of one that was forgotten there are two, and
# two drawings.
RECIPES_KEPT = 64


@dataclass(frozen=True, eq=False, slots=True)
class LatentRecipe:
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
class LabelRecipe:
    """Classes.

    Attributes:
        classes: how many there are.
    """

    classes: int

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.int64]:
        """[N]; all candidates of a seed have one class."""
        return sampler.labels(seeds, self.classes)


@dataclass(frozen=True, eq=False, slots=True)
class CodeRecipe:
    """Codes.

    Attributes:
        spec: which there are.
    """

    spec: CodeSpec

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float64]:
        """[N, Q]; all candidates of a seed have the same codes."""
        return sampler.codes(seeds, self.spec)


@lru_cache(RECIPES_KEPT)
def latent_recipe(
    size: int, prior: Prior, sampler: SamplerName = "philox-1", truncation: float | None = None
) -> LatentRecipe:
    """The recipe of these latents."""
    return LatentRecipe(size, prior, sampler, truncation)


@lru_cache(RECIPES_KEPT)
def label_recipe(classes: int) -> LabelRecipe:
    """The recipe of so many classes."""
    return LabelRecipe(classes)


@lru_cache(RECIPES_KEPT)
def code_recipe(spec: CodeSpec) -> CodeRecipe:
    """The recipe of these codes."""
    return CodeRecipe(spec)
