"""What is drawn from seeds for a generator: latents, labels, codes, each with what it depends on beside the seed.

Equal recipes of several requests share one drawing (`service/engine/draws.py`); the numbers are the sampler's.

Shapes: N seeds, Z latent coordinates, Q codes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.graphs import CodeSpec, Prior
from service.engine.philox import Seeds
from service.engine.port import SamplerName


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class LabelRecipe:
    """Classes.

    Attributes:
        classes: how many there are.
    """

    classes: int

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.int64]:
        """[N]; all candidates of a seed have one class."""
        return sampler.labels(seeds, self.classes)


@dataclass(frozen=True, slots=True)
class CodeRecipe:
    """Codes.

    Attributes:
        spec: which there are.
    """

    spec: CodeSpec

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float64]:
        """[N, Q]; all candidates of a seed have the same codes."""
        return sampler.codes(seeds, self.spec)
