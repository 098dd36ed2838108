"""Samples that somebody gives to a graph, as its inputs: pixels become a sample, labels and conditions stand beside it.

Callers give pixels or floats, and `/generate` gives its own pixels to the discriminator; here all of them become the
one tensor that a graph takes. Pixels are dequantised when a batch asks, on a model thread, so that no job holds more
floats than one batch needs.

Shapes: N samples, K classes, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.engine.batching.input_buffers import Rows
from service.engine.core.validation import Capabilities, check_generate
from service.engine.finite import all_ordinary
from service.engine.interface import GenerateJob
from service.engine.model_spec import Array, CodeSpec, Role
from service.engine.pixels import dequantise
from service.engine.sampling.batched import PendingSample, code_sampling, label_sampling, latent_sampling
from service.engine.sampling.codes import code_tensor
from service.engine.sampling.interpolation import between
from service.engine.sampling.philox import Seeds


@dataclass(frozen=True, slots=True)
class SampleInputs:
    """Samples to judge or to encode.

    Attributes:
        rows: pixels [N, H, W, C] uint8, or samples [N, …] as the package makes them.
        conditioning: [N] each, by role: label, condition.
        sample_range: (lo, hi) of an image's values; None for other samples, which have no pixels.
    """

    rows: Array
    conditioning: Mapping[Role, Array]
    sample_range: tuple[float, float] | None

    def __len__(self) -> int:
        """N."""
        return len(self.rows)

    def values(self, start: int, stop: int) -> Array:
        """Samples `start` … `stop` − 1 as the package makes them."""
        sample = self.rows[start:stop]
        if self.sample_range is not None and sample.dtype == np.uint8:
            return dequantise(sample.astype(np.uint8, copy=False), self.sample_range)
        return sample

    @property
    def is_ordinary(self) -> bool:
        """Whether every graph must answer finite numbers to them."""
        return all_ordinary([self.rows])

    def part(self, place: slice) -> "SampleInputs":
        """Some of the samples."""
        conditioning = {role: values[place] for role, values in self.conditioning.items()}
        return replace(self, rows=self.rows[place], conditioning=conditioning)

    def labelled(self, label: int) -> "SampleInputs":
        """The samples under one class."""
        return replace(self, conditioning={**self.conditioning, "label": np.full(len(self), label, np.int64)})

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """Write samples `start` … `stop` − 1 where the graph takes them.

        Args:
            start: the first sample.
            stop: behind the last.
            rows: by role, [n, …] each; a packing discriminator's samples [n, P·C, H, W], [n, P·D], or [n, P] of items.

        Returns:
            Nothing to draw.
        """
        sample = self.values(start, stop)
        # Of a row of P samples side by side, each is this one.
        rows["sample"].reshape(len(sample), -1, math.prod(sample.shape[1:]))[:] = sample.reshape(len(sample), 1, -1)
        for role in rows.keys() & self.conditioning.keys():
            rows[role][:] = self.conditioning[role][start:stop]
        return ()


@dataclass(frozen=True, slots=True)
class SampleInputsPerClass:
    """N samples, each under K classes in turn: N·K rows of a graph, none of which is held before a batch asks for it.

    Attributes:
        given: the samples, without labels.
        classes: K.
    """

    given: SampleInputs
    classes: int

    def __len__(self) -> int:
        """N·K."""
        return len(self.given) * self.classes

    @property
    def is_ordinary(self) -> bool:
        """As `Given.is_ordinary`."""
        return self.given.is_ordinary

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """As `Given.write`; row r is sample r // K under class r % K."""
        samples, labels = np.divmod(np.arange(start, stop), self.classes)
        first, last = int(samples[0]), int(samples[-1]) + 1
        part = self.given.part(slice(first, last))
        of_rows = samples - first
        conditioning: dict[Role, Array] = {role: values[of_rows] for role, values in part.conditioning.items()}
        repeated = SampleInputs(part.values(0, last - first)[of_rows], {**conditioning, "label": labels}, None)
        return repeated.write(0, stop - start, rows)


class GeneratorInputs:
    """The inputs of one job's samples.

    Args:
        job: which samples.
        capabilities: of the package.

    Attributes:
        labels: [N], given or drawn, each from the moment its sample's inputs were asked for; None without classes.
        codes: [N, Q], likewise; None without codes.

    Raises:
        InvalidRequest: the job does not fit the package.
    """

    def __init__(self, job: GenerateJob, capabilities: Capabilities) -> None:
        self._given = check_generate(job, capabilities)
        self._job = job
        self._latent = latent_sampling(capabilities.latent_size, capabilities.prior, job.sampler, job.truncation)
        self._label = (
            None
            if capabilities.label_count is None or job.labels is not None
            else label_sampling(capabilities.label_count)
        )
        self._codes = capabilities.codes
        self.labels = job.labels if self._label is None else np.empty(len(self), np.int64)
        self.codes: NDArray[np.float64] | None = None
        if capabilities.codes is not None:
            left_out = np.full((len(self), capabilities.codes.count), np.nan)
            self.codes = left_out if job.codes is None else job.codes.copy()

    def __len__(self) -> int:
        """N."""
        return len(self._given)

    @property
    def conditioning(self) -> dict[Role, Array]:
        """What the samples were drawn for, by role: what a discriminator may be told of them."""
        given: dict[Role, Array | None] = {"label": self.labels, "condition": self._job.conditions}
        return {role: values for role, values in given.items() if values is not None}

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
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

    def _latents(self, place: slice, rows: Array) -> list[PendingSample]:
        given, path, candidates = self._given[place], self._job.path, self._job.candidates
        if self._job.latents is not None:
            rows[:] = given
            return []
        if path is None:
            seeds = given.astype(np.uint64, copy=False)
            return [PendingSample(self._latent, seeds, None if candidates is None else candidates[place], _into(rows))]
        positions, curve = given.astype(np.float64, copy=False), path.curve

        def walk(ends: Array) -> None:
            first, last = ends.astype(np.float32, copy=False)
            rows[:] = between(first, last, positions, curve)

        return [PendingSample(self._latent, np.array([path.first, path.last], np.uint64), None, walk)]

    def _labels(self, place: slice, labels: NDArray[np.int64], rows: Array) -> list[PendingSample]:
        """Labels: `labels` and `rows` are told the same."""
        if self._label is None:
            rows[:] = labels
            return []
        return [PendingSample(self._label, self._seeds(place), None, _into(labels, rows))]

    def _code_rows(self, place: slice, codes: NDArray[np.float64], spec: CodeSpec, rows: Array) -> list[PendingSample]:
        """Codes: those that were left out of `codes` are told to it, and all of them to `rows`."""
        left_out = np.isnan(codes)
        if not left_out.any():
            rows[:] = code_tensor(codes, spec)
            return []

        def complete(drawn: Array) -> None:
            np.copyto(codes, drawn, where=left_out)
            rows[:] = code_tensor(codes, spec)

        return [PendingSample(code_sampling(spec), self._seeds(place), None, complete)]

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
