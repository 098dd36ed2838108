"""One request between the event loop that asks and the threads that compute.

Several slices of a request may run at the same time, so what they share is guarded: each writes its own rows, and the
rest changes under the queue's lock. The future belongs to the event loop alone.

Shapes: N samples.
"""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from service.engine.batching.input_buffers import Rows
from service.engine.batching.scheduler import Slice
from service.engine.model_spec import Outputs
from service.engine.sampling.batched import PendingSample
from service.engine.statistics import NO_TIME, Stages

# Writes the inputs of samples `start` … `stop` − 1 into the rows it is given, and answers what of them is left to be
# drawn from seeds, together with the other requests of the batch.
RowSource = Callable[[int, int, Rows], Sequence[PendingSample]]


class Request:
    """One request.

    Args:
        source: writes its inputs; called on whichever thread computes.
        samples: N, how many it asks for.
        outputs: which outputs it wants.
        deadline: when its caller stops waiting, on `time.monotonic`; None never.
        future: its answer.
        arrived: on `time.monotonic`.
        expect_finite: whether its inputs are such that the graph must answer finite numbers.

    Attributes:
        source: as given, and so are the others.
        ticket: in the queue.
        began: when its first run took it, on `time.monotonic`.
        results: output name → [N, …].
        computed: samples that are in `results`.
        stages: of the runs it was part of.
    """

    __slots__ = (
        "arrived",
        "began",
        "computed",
        "deadline",
        "expect_finite",
        "future",
        "outputs",
        "results",
        "samples",
        "source",
        "stages",
        "ticket",
    )  # fmt: skip

    def __init__(
        self,
        source: RowSource,
        samples: int,
        outputs: Sequence[str],
        deadline: float | None,
        future: asyncio.Future[Outputs],
        arrived: float,
        *,
        expect_finite: bool = True,
    ) -> None:
        self.source = source
        self.samples = samples
        self.outputs = outputs
        self.deadline = deadline
        self.future = future
        self.arrived = arrived
        self.expect_finite = expect_finite
        self.ticket = -1
        self.began = arrived
        self.results: Outputs = {}
        self.computed = 0
        self.stages: Stages = NO_TIME

    def make_room(self, batch: Outputs) -> None:
        """Have arrays for rows that come with several batches; under the queue's lock."""
        if not self.results:
            shapes = {name: (self.samples, *batch[name].shape[1:]) for name in self.outputs}
            self.results = {name: np.empty(shape, batch[name].dtype) for name, shape in shapes.items()}

    def take(self, piece: Slice, batch: Outputs, first: int) -> None:
        """Take a slice's rows out of a batch, where they are from row `first` on.

        A slice that is all of the request is taken as a view; others are copied, for which there is room where no other
        thread writes.
        """
        last = first + piece.stop - piece.start
        if piece.stop - piece.start == self.samples:
            self.results = {name: batch[name][first:last] for name in self.outputs}
            return
        for name in self.outputs:
            self.results[name][piece.start : piece.stop] = batch[name][first:last]

    def count(self, piece: Slice, stages: Stages) -> bool:
        """Count a slice that was computed, and its run; returns whether the request is complete. Under the lock."""
        self.stages = self.stages + stages if self.computed else stages
        self.computed += piece.stop - piece.start
        return self.computed == self.samples
