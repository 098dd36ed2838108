"""What the samples of one job are drawn from: given latents, or seeds that become latents, labels and codes, or a path.

It is asked on the model thread for the samples of one batch at a time, so that the event loop draws nothing and a job
for 50,000 samples holds no more latents than a batch needs. Which slices are asked for does not matter, since a sample
depends on its own seed alone. Labels and codes belong to a seed, not to one of its candidates; those of a path are its
first seed's.

Shapes: N samples, Z latent coordinates, Q codes.
"""

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.codes import code_tensor
from service.engine.graphs import Role
from service.engine.job_checks import Offer, check_generate
from service.engine.paths import between
from service.engine.philox import Seeds
from service.engine.port import GenerateJob
from service.engine.session import Array


class Noise:
    """The inputs of one job's samples.

    Args:
        job: which samples.
        offer: of the package.

    Attributes:
        labels: [N], given or drawn, each from the moment its sample's inputs were asked for; None without classes.
        codes: [N, Q], likewise; None without codes.

    Raises:
        InvalidRequest: the job does not fit the package.
    """

    def __init__(self, job: GenerateJob, offer: Offer) -> None:
        self._given = check_generate(job, offer)
        self._job = job
        self._offer = offer
        self._classes_to_draw = offer.label_count if job.labels is None else None
        self.labels = job.labels if self._classes_to_draw is None else np.empty(len(self), np.int64)
        self.codes: NDArray[np.float64] | None = None
        if offer.codes is not None:
            left_out = np.full((len(self), offer.codes.count), np.nan)
            self.codes = left_out if job.codes is None else job.codes.copy()

    def __len__(self) -> int:
        """N."""
        return len(self._given)

    @property
    def beside(self) -> dict[Role, Array]:
        """What the samples were drawn for, by role: what a discriminator may be told of them."""
        given: dict[Role, Array | None] = {"label": self.labels, "condition": self._job.conditions}
        return {role: values for role, values in given.items() if values is not None}

    def inputs(self, start: int, stop: int) -> dict[Role, Array]:
        """The inputs of samples `start` … `stop` − 1, by role."""
        place = slice(start, stop)
        inputs: dict[Role, Array] = {"latent": self._latents(place)}
        inputs |= {role: values[place] for role, values in self.beside.items()}
        if self.codes is not None and self._offer.codes is not None:
            inputs["code"] = code_tensor(self.codes[place], self._offer.codes)
        return inputs

    def _latents(self, place: slice) -> Array:
        """Latents [N, Z]; labels and codes that were left out are drawn with them."""
        given, path, candidates = self._given[place], self._job.path, self._job.candidates
        if self._job.latents is not None:
            return given
        if path is not None:
            self._draw(np.full(len(given), path.first, np.uint64), place)
            first, last = self._drawn(np.array([path.first, path.last], np.uint64), None)
            return between(first, last, given.astype(np.float64, copy=False), path.curve)
        seeds = given.astype(np.uint64, copy=False)
        self._draw(seeds, place)
        return self._drawn(seeds, None if candidates is None else candidates[place])

    def _drawn(self, seeds: Seeds, candidates: Seeds | None) -> NDArray[np.float32]:
        """Latents [N, Z] of seeds."""
        return sampler.latents(
            seeds,
            self._offer.latent_size,
            self._offer.prior,
            self._job.sampler,
            candidates=candidates,
            truncation=self._job.truncation,
        )

    def _draw(self, seeds: NDArray[np.uint64], place: slice) -> None:
        """Draw what the caller left out."""
        if self.labels is not None and self._classes_to_draw is not None:
            self.labels[place] = sampler.labels(seeds, self._classes_to_draw)
        if self.codes is not None and self._offer.codes is not None:
            named = self.codes[place]
            if np.isnan(named).any():
                self.codes[place] = np.where(np.isnan(named), sampler.codes(seeds, self._offer.codes), named)
