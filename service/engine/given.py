"""Samples that somebody gives to a graph, as its inputs: pixels become a sample, labels and conditions stand beside it.

Callers give pixels or floats, and `/generate` gives its own pixels to the discriminator; here all of them become the
one tensor that a graph takes. Pixels are dequantised when a batch asks, on a model thread, so that no job holds more
floats than one batch needs.

Shapes: N samples, C channels, H height, W width.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.engine.draws import Draw
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

    def part(self, place: slice) -> "Given":
        """Some of the samples."""
        beside = {role: values[place] for role, values in self.beside.items()}
        return replace(self, rows=self.rows[place], beside=beside)

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[Draw]:
        """Write samples `start` … `stop` − 1 where the graph takes them.

        Args:
            start: the first sample.
            stop: behind the last.
            rows: by role, [n, …] each; a packing discriminator's samples [n, P·C, H, W], [n, P·D], or [n, P] of items.

        Returns:
            Nothing to draw.
        """
        sample = self.rows[start:stop]
        if self.sample_range is not None and sample.dtype == np.uint8:
            sample = dequantise(sample.astype(np.uint8, copy=False), self.sample_range)
        # Of a row of P samples side by side, each is this one.
        rows["sample"].reshape(len(sample), -1, math.prod(sample.shape[1:]))[:] = sample.reshape(len(sample), 1, -1)
        for role in rows.keys() & self.beside.keys():
            rows[role][:] = self.beside[role][start:stop]
        return ()
