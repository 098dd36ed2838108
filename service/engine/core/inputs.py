"""What a job's samples are computed from, written into the rows of a batch: given samples, or latents drawn from seeds.

Rows are written by the thread that runs the batch, so that no job holds more floats than one batch needs.

Shapes: N samples, n of them in one batch, K classes, Q codes, P samples judged together, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.batching.input_buffers import Rows
from service.engine.core.validation import check_generate
from service.engine.finite import all_ordinary
from service.engine.interface import GenerateJob
from service.engine.model_spec import Array, Capabilities, CodeSpec, Role
from service.engine.pixels import dequantise
from service.engine.sampling.batched import (
    LabelSampling,
    PendingSample,
    code_sampling,
    label_sampling,
    latent_sampling,
)
from service.engine.sampling.codes import code_tensor
from service.engine.sampling.interpolation import between
from service.engine.sampling.philox import Seeds


class Inputs(Protocol):
    """The inputs of N samples, for one graph."""

    def __len__(self) -> int:
        """N."""
        ...

    @property
    def expect_finite(self) -> bool:
        """Whether every graph must answer finite numbers to them."""
        ...

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """Write samples `start` … `stop` − 1 into `rows`, by role, [n, …] each.

        Returns:
            What is left to be drawn from seeds, together with the other requests of the batch.
        """
        ...


@dataclass(frozen=True, slots=True)
class SampleInputs:
    """Samples to score or to encode.

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

    @property
    def expect_finite(self) -> bool:
        """As `Inputs.expect_finite`."""
        return all_ordinary([self.rows])

    def values(self, start: int, stop: int) -> Array:
        """Samples `start` … `stop` − 1 as the package makes them."""
        sample = self.rows[start:stop]
        if self.sample_range is not None and sample.dtype == np.uint8:
            return dequantise(sample.astype(np.uint8, copy=False), self.sample_range)
        return sample

    def subset(self, place: slice) -> "SampleInputs":
        """Some of the samples."""
        conditioning = {role: values[place] for role, values in self.conditioning.items()}
        return replace(self, rows=self.rows[place], conditioning=conditioning)

    def with_label(self, label: int) -> "SampleInputs":
        """All samples under one class."""
        return replace(self, conditioning={**self.conditioning, "label": np.full(len(self), label, np.int64)})

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """As `Inputs.write`; a packing discriminator's samples are [n, P·C, H, W], [n, P·D], or [n, P] of items."""
        sample = self.values(start, stop)
        # Each of the P samples side by side in a row is this one.
        rows["sample"].reshape(len(sample), -1, math.prod(sample.shape[1:]))[:] = sample.reshape(len(sample), 1, -1)
        for role in rows.keys() & self.conditioning.keys():
            rows[role][:] = self.conditioning[role][start:stop]
        return ()


@dataclass(frozen=True, slots=True)
class SampleInputsPerClass:
    """N samples, each under K classes in turn: N·K rows, none of which is held before a batch asks for it.

    Attributes:
        samples: without labels.
        classes: K.
    """

    samples: SampleInputs
    classes: int

    def __len__(self) -> int:
        """N·K."""
        return len(self.samples) * self.classes

    @property
    def expect_finite(self) -> bool:
        """As `Inputs.expect_finite`."""
        return self.samples.expect_finite

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """As `Inputs.write`; row r is sample r // K under class r % K."""
        numbers, labels = np.divmod(np.arange(start, stop), self.classes)
        first, last = int(numbers[0]), int(numbers[-1]) + 1
        subset = self.samples.subset(slice(first, last))
        of_rows = numbers - first
        conditioning: dict[Role, Array] = {role: values[of_rows] for role, values in subset.conditioning.items()}
        repeated = SampleInputs(subset.values(0, last - first)[of_rows], {**conditioning, "label": labels}, None)
        return repeated.write(0, stop - start, rows)


class GeneratorInputs:
    """Latents, labels, codes and conditions of one job: given, or drawn from its seeds.

    Attributes:
        expect_finite: as `Inputs.expect_finite`.
        labels: [N], given or drawn, each from the moment its row was drawn; None without classes.
        codes: [N, Q], given or drawn, each from the moment its row was drawn; None without codes.

    Raises:
        InvalidRequest: the job does not fit the package.
    """

    def __init__(self, job: GenerateJob, capabilities: Capabilities) -> None:
        self._job = job
        self._source = check_generate(job, capabilities)
        self._latent_spec = latent_sampling(capabilities.latent_size, capabilities.prior, job.sampler, job.truncation)
        self._label_spec: LabelSampling | None = None
        self._code_spec = capabilities.codes
        self.expect_finite = job.latents is None or all_ordinary([job.latents])
        self.labels = job.labels
        self.codes = None if job.codes is None else job.codes.copy()
        if capabilities.label_count is not None and job.labels is None:
            self._label_spec = label_sampling(capabilities.label_count)
            self.labels = np.empty(len(self), np.int64)
        if capabilities.codes is not None and job.codes is None:
            self.codes = np.full((len(self), capabilities.codes.count), np.nan)

    def __len__(self) -> int:
        """N."""
        return len(self._source)

    @property
    def conditioning(self) -> dict[Role, Array]:
        """Labels and conditions, by role: what a discriminator may take beside the samples."""
        columns: dict[Role, Array | None] = {"label": self.labels, "condition": self._job.conditions}
        return {role: values for role, values in columns.items() if values is not None}

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """As `Inputs.write`."""
        place = slice(start, stop)
        pending = self._write_latents(place, rows["latent"])
        if self._job.conditions is not None:
            rows["condition"][:] = self._job.conditions[place]
        if self._label_spec is not None and self.labels is not None:
            take = _copy_to(self.labels[place], rows["label"])
            pending.append(PendingSample(self._label_spec, self._seeds(place), None, take))
        elif self.labels is not None:
            rows["label"][:] = self.labels[place]
        if self.codes is not None and self._code_spec is not None:
            pending += self._write_codes(place, self.codes[place], self._code_spec, rows["code"])
        return pending

    def _write_latents(self, place: slice, rows: Array) -> list[PendingSample]:
        source, path, candidates = self._source[place], self._job.path, self._job.candidates
        if self._job.latents is not None:
            rows[:] = source
            return []
        if path is None:
            seeds, chosen = source.astype(np.uint64, copy=False), None if candidates is None else candidates[place]
            return [PendingSample(self._latent_spec, seeds, chosen, _copy_to(rows))]
        positions, curve = source.astype(np.float64, copy=False), path.curve

        def interpolate(ends: Array) -> None:
            first, last = ends.astype(np.float32, copy=False)
            rows[:] = between(first, last, positions, curve)

        return [PendingSample(self._latent_spec, np.array([path.first, path.last], np.uint64), None, interpolate)]

    def _write_codes(
        self, place: slice, codes: NDArray[np.float64], spec: CodeSpec, rows: Array
    ) -> list[PendingSample]:
        """Write codes [n, Q] as tensors; those that are NaN are drawn first, into `codes` too."""
        left_out = np.isnan(codes)
        if not left_out.any():
            rows[:] = code_tensor(codes, spec)
            return []

        def complete(drawn: Array) -> None:
            np.copyto(codes, drawn, where=left_out)
            rows[:] = code_tensor(codes, spec)

        return [PendingSample(code_sampling(spec), self._seeds(place), None, complete)]

    def _seeds(self, place: slice) -> Seeds:
        """The seeds [n] that labels and codes are drawn from."""
        source, path = self._source[place], self._job.path
        return source.astype(np.uint64, copy=False) if path is None else np.full(len(source), path.first, np.uint64)


def _copy_to(*places: Array) -> Callable[[Array], None]:
    def take(drawn: Array) -> None:
        for rows in places:
            rows[:] = drawn

    return take
