"""One request, shared by the event loop that awaits its future and the threads that compute its slices.

Shapes: N samples.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from service.engine.batching.input_buffers import Rows
from service.engine.interface import NO_SHARE
from service.engine.model_spec import Outputs
from service.engine.sampling.batched import PendingSample
from service.engine.scheduling.scheduler import Slice
from service.engine.statistics import NO_TIME, Stages
from service.tracing import Attributes

# Writes the inputs of samples `start` … `stop` − 1 into the given rows; returns what is left to be drawn from seeds,
# together with the other requests of the batch. Called on a worker thread.
RowSource = Callable[[int, int, Rows], Sequence[PendingSample]]


class Run(NamedTuple):
    """A batch that computed samples of a request, for its trace.

    Attributes:
        began: when it was taken from the queue, on `time.monotonic`.
        ended: when its results were there.
        samples: of the request.
        batch: what is said of it to all its requests.
        error: why it failed for this one.
    """

    began: float
    ended: float
    samples: int
    batch: Attributes
    error: Exception | None


class Request:
    """One request. Slices may run at the same time: each writes its own rows, the rest changes under the queue's lock.

    Args:
        source: writes its inputs.
        samples: N.
        outputs: names of the outputs wanted.
        deadline: when its caller stops waiting, on `time.monotonic`; None means never.
        future: its answer; for the event loop only.
        arrived: on `time.monotonic`.
        expect_finite: whether its inputs are such that the graph must answer finite numbers.

    Attributes:
        share: for whom it is computed.
        ticket: in the scheduler.
        began: when its first run took it, on `time.monotonic`.
        results: output name → [N, …].
        runs: that it was part of; None where it is not traced.
        computed: samples that are in `results`.
        stages: of its runs.
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
        "runs",
        "samples",
        "share",
        "source",
        "stages",
        "ticket",
    )

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
        self.share = NO_SHARE
        self.runs: list[Run] | None = None
        self.ticket = -1
        self.began = arrived
        self.results: Outputs = {}
        self.computed = 0
        self.stages: Stages = NO_TIME

    def allocate(self, batch: Outputs) -> None:
        """Allocate arrays for rows that come from several batches; under the queue's lock."""
        if not self.results:
            shapes = {name: (self.samples, *batch[name].shape[1:]) for name in self.outputs}
            self.results = {name: np.empty(shape, batch[name].dtype) for name, shape in shapes.items()}

    def store(self, piece: Slice, batch: Outputs, first: int) -> None:
        """Store a slice's rows of a batch, which begin at row `first`; as a view where it is the whole request."""
        last = first + piece.stop - piece.start
        if piece.stop - piece.start == self.samples:
            self.results = {name: batch[name][first:last] for name in self.outputs}
            return
        for name in self.outputs:
            self.results[name][piece.start : piece.stop] = batch[name][first:last]

    def count(self, piece: Slice, stages: Stages) -> bool:
        """Count a slice and its run; returns whether the request is complete. Under the queue's lock."""
        self.stages = self.stages + stages if self.computed else stages
        self.computed += piece.stop - piece.start
        return self.computed == self.samples
