"""What the samples of one job are drawn from: given latents, or seeds that become latents and labels slice by slice.

It is asked on the model thread for the samples of one batch at a time, so that the event loop draws nothing and a job
for 50,000 samples holds no more latents than a batch needs. Which slices are asked for does not matter, since a sample
depends on its own seed alone.

Shapes: N samples, Z latent coordinates.
"""

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.graphs import Role
from service.engine.job_checks import Offer
from service.engine.port import SamplerName
from service.engine.session import Array


class Noise:
    """The inputs of one job's samples.

    Args:
        given: seeds [N], or latents [N, Z].
        labels: [N], or None for an unconditional package or to draw them from the seeds.
        how: a seed becomes a latent.
        offer: of the package.

    Attributes:
        labels: [N], given or drawn, each from the moment its sample's inputs were asked for; None without classes.
    """

    def __init__(
        self,
        given: NDArray[np.uint64] | NDArray[np.float32],
        labels: NDArray[np.int64] | None,
        how: SamplerName,
        offer: Offer,
    ) -> None:
        self._given = given
        self._how = how
        self._offer = offer
        self._classes_to_draw = offer.label_count if labels is None else None
        self.labels = labels if self._classes_to_draw is None else np.empty(len(given), np.int64)

    def inputs(self, start: int, stop: int) -> dict[Role, Array]:
        """The inputs of samples `start` … `stop` − 1, by role."""
        given = self._given[start:stop]
        inputs: dict[Role, Array] = {"latent": given}
        if given.ndim == 1:
            seeds = given.astype(np.uint64, copy=False)
            inputs["latent"] = sampler.latents(seeds, self._offer.latent_size, self._offer.prior, self._how)
            if self.labels is not None and self._classes_to_draw is not None:
                self.labels[start:stop] = sampler.labels(seeds, self._classes_to_draw)
        if self.labels is not None:
            inputs["label"] = self.labels[start:stop]
        return inputs
