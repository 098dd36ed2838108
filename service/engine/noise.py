"""What the samples of one job are drawn from: given latents, or seeds that become latents, labels and codes, or a path.

It is asked on a model thread for the samples of one batch at a time, so that the event loop draws nothing and a job for
50,000 samples holds no more latents than a batch needs. What is given it writes at once; what seeds decide it leaves to
be drawn with the rest of the batch. Which slices are asked for does not matter, since a sample depends on its own seed
alone. Labels and codes belong to a seed, not to one of its candidates; those of a path are its first seed's.

Shapes: N samples, Z latent coordinates, Q codes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.codes import code_tensor
from service.engine.draws import Draw
from service.engine.graphs import CodeSpec, Role
from service.engine.inputs import Rows
from service.engine.job_checks import Offer, check_generate
from service.engine.paths import between
from service.engine.philox import Seeds
from service.engine.port import GenerateJob
from service.engine.recipes import code_recipe, label_recipe, latent_recipe
from service.engine.runners import Array


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
        self._latent = latent_recipe(offer.latent_size, offer.prior, job.sampler, job.truncation)
        self._label = None if offer.label_count is None or job.labels is not None else label_recipe(offer.label_count)
        self._codes = offer.codes
        self.labels = job.labels if self._label is None else np.empty(len(self), np.int64)
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

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[Draw]:
        """Write what is known of samples `start` … `stop` − 1.

        Args:
            start: the first sample.
            stop: behind the last.
            rows: by role, [n, …] each.

        Returns:
            What is left, to be drawn from seeds.
        """
        place = slice(start, stop)
        draws = self._latents(place, rows["latent"])
        if self._job.conditions is not None:
            rows["condition"][:] = self._job.conditions[place]
        if self.labels is not None:
            draws += self._labels(place, self.labels[place], rows["label"])
        if self.codes is not None and self._codes is not None:
            draws += self._code_rows(place, self.codes[place], self._codes, rows["code"])
        return draws

    def _latents(self, place: slice, rows: Array) -> list[Draw]:
        given, path, candidates = self._given[place], self._job.path, self._job.candidates
        if self._job.latents is not None:
            rows[:] = given
            return []
        if path is None:
            seeds = given.astype(np.uint64, copy=False)
            return [Draw(self._latent, seeds, None if candidates is None else candidates[place], _into(rows))]
        positions, curve = given.astype(np.float64, copy=False), path.curve

        def walk(ends: Array) -> None:
            first, last = ends.astype(np.float32, copy=False)
            rows[:] = between(first, last, positions, curve)

        return [Draw(self._latent, np.array([path.first, path.last], np.uint64), None, walk)]

    def _labels(self, place: slice, labels: NDArray[np.int64], rows: Array) -> list[Draw]:
        """Labels: `labels` and `rows` are told the same."""
        if self._label is None:
            rows[:] = labels
            return []
        return [Draw(self._label, self._seeds(place), None, _into(labels, rows))]

    def _code_rows(self, place: slice, codes: NDArray[np.float64], spec: CodeSpec, rows: Array) -> list[Draw]:
        """Codes: those that were left out of `codes` are told to it, and all of them to `rows`."""
        left_out = np.isnan(codes)
        if not left_out.any():
            rows[:] = code_tensor(codes, spec)
            return []

        def complete(drawn: Array) -> None:
            np.copyto(codes, drawn, where=left_out)
            rows[:] = code_tensor(codes, spec)

        return [Draw(code_recipe(spec), self._seeds(place), None, complete)]

    def _seeds(self, place: slice) -> Seeds:
        """Whose labels and codes they are."""
        given, path = self._given[place], self._job.path
        return given.astype(np.uint64, copy=False) if path is None else np.full(len(given), path.first, np.uint64)


def _into(*places: Array) -> Callable[[Array], None]:
    """Writes drawn rows to each of these places."""

    def take(drawn: Array) -> None:
        for rows in places:
            rows[:] = drawn

    return take
