"""Worker threads: each takes batches from the queue and computes them, one after the other.

    wait for a batch ─▶ write its inputs ─▶ post the answers of the last batch ─▶ run it ─▶ take another ─▶ …

Where the next batch waits already, its inputs are written before the answers of the last one are posted: the event loop
is busy with those for as long as a short run takes, and both need the interpreter lock, so that in the other order a
core would idle.
"""

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from service.engine.backends.base import InstanceGroup
from service.engine.batching.input_buffers import BatchInputs
from service.engine.batching.queue import Piece, RequestQueue, ScheduledBatch, WakeUp
from service.engine.batching.request import Request, Run
from service.engine.batching.stats import Meter
from service.engine.finite import FinitenessCheck
from service.engine.model_spec import Feeds, Outputs
from service.engine.sampling.batched import PendingSample, sample_batched
from service.engine.statistics import NO_TIME, Stages
from service.errors import DeadlinePassed, GanymedeError, NotFinite, SessionFailed
from service.tracing import Attributes

Answer = tuple[Request, GanymedeError | None]
"""A request and its error; None where it is complete."""
Fault = tuple[Piece, Exception]
"""A piece that could not be computed, and why."""

_log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """A batch whose inputs are written.

    Attributes:
        written: the pieces to run, in the order of their rows.
        rows: of all of them.
        faults: the other pieces.
        inputs_s: seconds that writing took.
    """

    batch: ScheduledBatch
    written: Sequence[Piece]
    rows: int
    faults: Sequence[Fault]
    inputs_s: float


class Computed(NamedTuple):
    """What a session answered.

    Attributes:
        results: output name → [B, …]; empty where it failed.
        run_s: seconds of the run.
        error: what it raised.
    """

    results: Outputs
    run_s: float
    error: Exception | None = None


NOT_COMPUTED = Computed({}, 0.0)


class BatchRunner:
    """Computes one batch at a time, for one worker thread.

    Args:
        queue: is told the end of each run.
        instances: sessions of the graph.
        inputs: buffers of this worker alone.
        finite: which outputs must be finite.
        meter: counts samples whose outputs are not.
    """

    def __init__(
        self,
        queue: RequestQueue,
        instances: InstanceGroup,
        inputs: BatchInputs,
        finite: FinitenessCheck,
        meter: Meter,
    ) -> None:
        self._queue = queue
        self._instances = instances
        self._inputs = inputs
        self._finite = finite
        self._meter = meter

    def prepare(self, batch: ScheduledBatch) -> Prepared:
        """Write the inputs of a batch; `run` or `finish` must follow before the next is prepared.

        A request whose inputs cannot be written fails alone, and leaves no gap.
        """
        self._inputs.begin(batch.size)
        written: list[Piece] = []
        pending: list[PendingSample] = []
        faults: list[Fault] = []
        rows = 0
        for piece, request in batch.pieces:
            stop = rows + piece.stop - piece.start
            try:
                pending += request.source(piece.start, piece.stop, self._inputs.rows(rows, stop))
            except Exception as error:  # noqa: BLE001 - whatever a request's own inputs raise
                _log.exception("a request's inputs could not be made")
                faults.append(((piece, request), error))
            else:
                written.append((piece, request))
                rows = stop
        try:
            sample_batched(pending)
        except Exception as error:  # noqa: BLE001 - whatever sampling raises, the thread goes on
            _log.exception("the inputs of %d requests could not be drawn", len(written))
            faults += [(piece, error) for piece in written]
            written = []
        return Prepared(batch, written, rows, faults, time.monotonic() - batch.at)

    def run(self, prepared: Prepared) -> list[Answer]:
        """Compute a prepared batch; returns the requests that are answered now."""
        batch, ran, *_ = prepared
        if not batch.pieces:
            return self.expired(batch)
        return self.finish(prepared, self.compute(prepared, self.feeds(prepared)) if ran else NOT_COMPUTED)

    def expired(self, batch: ScheduledBatch) -> list[Answer]:
        """The answers of the requests of a batch that cannot be done before their deadline."""
        return [(request, late()) for request in batch.expired]

    def feeds(self, prepared: Prepared) -> Feeds:
        """The inputs of a prepared batch, padded."""
        return self._inputs.feeds(prepared.rows, prepared.batch.size)

    def compute(self, prepared: Prepared, feeds: Feeds) -> Computed:
        """Run the session on a prepared batch, on whichever thread; a failure is returned."""
        wanted = [name for _, request in prepared.written for name in request.outputs]
        began = time.monotonic()
        try:
            runner = (self._instances.all_cores if prepared.batch.all_cores else None) or self._instances.single_thread
            results = runner.compute(feeds, list(dict.fromkeys([*wanted, *self._finite.outputs])))
        except Exception as error:  # noqa: BLE001 - whatever a session raises, the thread goes on
            return Computed({}, 0.0, error)
        return Computed(results, time.monotonic() - began)

    def finish(self, prepared: Prepared, computed: Computed) -> list[Answer]:
        """Hand out the results of a batch; returns the requests that are answered now."""
        batch, ran, _, faults, inputs_s = prepared
        answers = self.expired(batch)
        stages, failure = NO_TIME, computed.error
        nonfinite: Sequence[Piece] = ()
        if ran and failure is None:
            began = time.monotonic()
            try:
                nonfinite = self._store(ran, computed.results)
            except Exception as error:  # noqa: BLE001 - whatever the results are, the thread goes on
                failure = error
            else:
                stages = Stages(inputs_s, computed.run_s, time.monotonic() - began)
        if failure is not None:
            _log.error("a session run failed, and with it %d requests", len(ran), exc_info=failure)
            faults = [*faults, *((piece, failure) for piece in ran)]
            ran = ()
        elif nonfinite:
            ran = [piece for piece in ran if piece not in nonfinite]
            faults = [*faults, *((piece, self._finite.error()) for piece in nonfinite)]
        self._inputs.end()
        for _, request in batch.pieces:
            if request.runs is not None:
                _note_run(prepared, stages, dict(faults))
                break
        complete = self._queue.done(batch, ran, [piece for piece, _ in faults], stages)
        answers += [(request, _error(fault)) for (_, request), fault in faults]
        answers += [(request, None) for request in complete]
        return answers

    def _store(self, pieces: Sequence[Piece], results: Outputs) -> Sequence[Piece]:
        """Store each piece's rows; returns the pieces whose rows are not finite and should be."""
        nonfinite = self._nonfinite(pieces, results)
        split = [(piece, request) for piece, request in pieces if piece.stop - piece.start < request.samples]
        if split:
            self._queue.allocate(split, results)
        first = 0
        for piece, request in pieces:
            request.store(piece, results, first)
            first += piece.stop - piece.start
        return nonfinite

    def _nonfinite(self, pieces: Sequence[Piece], results: Outputs) -> Sequence[Piece]:
        """The pieces with rows that are not finite, although their inputs are ordinary; counted."""
        rows = self._finite.nonfinite_rows(results)
        if rows is None:
            return ()
        nonfinite: list[Piece] = []
        count = first = 0
        for piece, request in pieces:
            last = first + piece.stop - piece.start
            if request.expect_finite and (found := int(rows[first:last].sum())):
                nonfinite.append((piece, request))
                count += found
            first = last
        self._meter.met_nonfinite(count)
        return nonfinite


class BatchThread(ABC):
    """One thread that takes batches from a queue until that is closed.

    Args:
        post: called with answers, on this thread.
        ended: called on this thread, as its last act.
    """

    def __init__(
        self, name: str, queue: RequestQueue, post: Callable[[Sequence[Answer]], None], ended: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._post = post
        self._ended = ended
        self._wake_up = WakeUp()
        # A daemon: a run that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _serve(self) -> None:
        try:
            while self._wait_and_run():
                pass
        finally:  # whatever ended the thread, nothing may go on waiting for it
            self._ended()

    @abstractmethod
    def _wait_and_run(self) -> bool:
        """Wait for a batch, then run until none waits; False to end. Returning frees what the batches referred to."""


class WorkerThread(BatchThread):
    """A thread that runs batches itself, one after the other.

    Args:
        runner: of this thread alone.
        post: as in `BatchThread`, and so is `ended`.
    """

    def __init__(
        self,
        name: str,
        queue: RequestQueue,
        runner: BatchRunner,
        post: Callable[[Sequence[Answer]], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name, queue, post, ended)
        self._runner = runner

    def _wait_and_run(self) -> bool:
        """Wait for a batch, then run until none waits; False to end. Returning frees what the batches referred to."""
        batch = self._queue.take(self._wake_up)
        if batch is None:
            return False
        answers: Sequence[Answer] = ()
        while batch is not None:
            prepared = self._runner.prepare(batch)
            if answers:
                self._post(answers)
            answers = self._runner.run(prepared)
            batch = self._queue.take_waiting()
        self._post(answers)
        return True


def late() -> DeadlinePassed:
    """The error of a request whose deadline came first; one per request."""
    return DeadlinePassed("the deadline passed before the samples were computed")


def _error(fault: Exception) -> GanymedeError:
    """A new error for each request: tasks that raise the same one would write into one traceback."""
    if isinstance(fault, NotFinite):
        return NotFinite(str(fault))
    error = SessionFailed("the session failed on the batch that held this request")
    error.__cause__ = fault
    return error


BATCH_ID_BITS = 64
# Ids of batches differ; they are not secret, and the same seed of another process would repeat them.
_ids = random.Random()  # noqa: S311


def _note_run(prepared: Prepared, stages: Stages, faults: Mapping[Piece, Exception]) -> None:
    """Tell each traced request of a batch that it ran; before it is answered, by this batch or by another."""
    batch = prepared.batch
    now = time.monotonic()
    said: Attributes = {
        "ganymede.batch.id": f"{_ids.getrandbits(BATCH_ID_BITS):016x}",
        "ganymede.batch.requests": len(batch.pieces),
        "ganymede.batch.samples": prepared.rows,
        "ganymede.batch.size": batch.size,
        "ganymede.batch.inputs_s": stages.inputs_s,
        "ganymede.batch.session_s": stages.run_s,
        "ganymede.batch.outputs_s": stages.outputs_s,
    }
    for part in batch.pieces:
        piece, request = part
        if request.runs is not None:
            request.runs.append(Run(batch.at, now, piece.stop - piece.start, said, faults.get(part)))
