"""One request between the event loop that asks and the lanes that compute.

Lanes may run several slices of a request at the same time, so what they share is guarded: each writes its own rows, and
the rest (`began` aside, which the first slice's lane sets before it runs) changes under the desk's lock. The future
belongs to the event loop alone.

Shapes: N samples.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.batch_policy import Slice
from service.engine.draws import Draw
from service.engine.inputs import Rows
from service.engine.runners import Outputs
from service.engine.statistics import NO_TIME, Stages

# Writes the inputs of samples `start` … `stop` − 1 into the rows it is given, and answers what of them is left to be
# drawn from seeds, together with the other requests of the batch.
RowSource = Callable[[int, int, Rows], Sequence[Draw]]


@dataclass(eq=False, slots=True)
class Request:
    """One request.

    Attributes:
        source: writes its inputs; called on model threads.
        samples: N, how many it asks for.
        outputs: which outputs it wants.
        future: its answer.
        arrived: on `time.monotonic`.
        ticket: in the queue.
        began: when its first run took it, on `time.monotonic`.
        results: output name → [N, …].
        computed: samples that are in `results`.
        stages: of the runs it was part of.
    """

    source: RowSource
    samples: int
    outputs: Sequence[str]
    future: asyncio.Future[Outputs]
    arrived: float
    ticket: int = -1
    began: float = 0.0
    results: Outputs = field(default_factory=dict)
    computed: int = 0
    stages: Stages = NO_TIME

    @property
    def is_complete(self) -> bool:
        """Whether all its samples are computed."""
        return self.computed == self.samples

    def is_whole(self, piece: Slice) -> bool:
        """Whether a slice is all of it."""
        return piece.stop - piece.start == self.samples

    def view(self, batch: Outputs, first: int) -> None:
        """Take all its rows out of a batch, where they are from row `first` on, as views."""
        self.results = {name: batch[name][first : first + self.samples] for name in self.outputs}

    def make_room(self, batch: Outputs) -> None:
        """Have arrays for rows that come with several batches; under the desk's lock."""
        if not self.results:
            shapes = {name: (self.samples, *batch[name].shape[1:]) for name in self.outputs}
            self.results = {name: np.empty(shape, batch[name].dtype) for name, shape in shapes.items()}

    def copy(self, piece: Slice, batch: Outputs, first: int) -> None:
        """Copy a slice's rows out of a batch; there is room for them, and no other lane writes there."""
        last = first + piece.stop - piece.start
        for name in self.outputs:
            self.results[name][piece.start : piece.stop] = batch[name][first:last]

    def count(self, piece: Slice, stages: Stages) -> bool:
        """Count a slice that was computed, and its run; returns whether the request is complete. Under the lock."""
        self.stages = self.stages + stages if self.computed else stages
        self.computed += piece.stop - piece.start
        return self.is_complete
