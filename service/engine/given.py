"""Samples that somebody gives to a graph, as its inputs: pixels become a sample, labels and conditions stand beside it.

Callers give pixels or floats, and `/generate` gives its own pixels to the discriminator; here all of them become the
one tensor that a graph takes. Pixels are dequantised when a batch asks, on a model thread, so that no job holds more
floats than one batch needs.

Shapes: N samples, K classes, C channels, H height, W width.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.engine.draws import Draw
from service.engine.finite import are_ordinary
from service.engine.graphs import Role
from service.engine.inputs import Rows
from service.engine.pixels import dequantise
from service.engine.runners import Array


@dataclass(frozen=True, slots=True)
class Given:
    """Samples to judge or to encode.

    Attributes:
        rows: pixels [N, H, W, C] uint8, or samples [N, …] as the package makes them.
        beside: [N] each, by role: label, condition.
        sample_range: (lo, hi) of an image's values; None for other samples, which have no pixels.
    """

    rows: Array
    beside: Mapping[Role, Array]
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
        return are_ordinary([self.rows])

    def part(self, place: slice) -> "Given":
        """Some of the samples."""
        beside = {role: values[place] for role, values in self.beside.items()}
        return replace(self, rows=self.rows[place], beside=beside)

    def labelled(self, label: int) -> "Given":
        """The samples under one class."""
        return replace(self, beside={**self.beside, "label": np.full(len(self), label, np.int64)})

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[Draw]:
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
        for role in rows.keys() & self.beside.keys():
            rows[role][:] = self.beside[role][start:stop]
        return ()


@dataclass(frozen=True, slots=True)
class UnderEveryClass:
    """N samples, each under K classes in turn: N·K rows of a graph, none of which is held before a batch asks for it.

    Attributes:
        given: the samples, without labels.
        classes: K.
    """

    given: Given
    classes: int

    def __len__(self) -> int:
        """N·K."""
        return len(self.given) * self.classes

    @property
    def is_ordinary(self) -> bool:
        """As `Given.is_ordinary`."""
        return self.given.is_ordinary

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[Draw]:
        """As `Given.write`; row r is sample r // K under class r % K."""
        samples, labels = np.divmod(np.arange(start, stop), self.classes)
        first, last = int(samples[0]), int(samples[-1]) + 1
        part = self.given.part(slice(first, last))
        of_rows = samples - first
        beside: dict[Role, Array] = {role: values[of_rows] for role, values in part.beside.items()}
        repeated = Given(part.values(0, last - first)[of_rows], {**beside, "label": labels}, None)
        return repeated.write(0, stop - start, rows)
