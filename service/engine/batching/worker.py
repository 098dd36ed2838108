"""A model thread: it takes batches from the queue, one after the other, and has its worker compute them.

    wait for a batch ─▶ write its inputs ─▶ post the answers of the last batch ─▶ run it ─▶ take another ─▶ …

Where a batch waits already, its inputs are written before the event loop hears of the answers of the last one: the loop
is busy with them for as long as a short run takes, and both need the interpreter, so that the other way round a core
would stand still meanwhile.

There is one worker a core. It knows nothing of the event loop but `post`, by which it says who is answered what.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.engine.backends.base import InstanceGroup
from service.engine.batching.input_buffers import BatchInputs
from service.engine.batching.queue import Piece, RequestQueue, ScheduledBatch, WakeUp
from service.engine.batching.request import Request
from service.engine.finite import FinitenessCheck
from service.engine.model_spec import Outputs
from service.engine.sampling.batched import PendingSample, sample_batched
from service.engine.statistics import NO_TIME, Stages
from service.errors import DeadlinePassed, GanymedeError, NotFinite, SessionFailed

Answer = tuple[Request, GanymedeError | None]
"""A request, and what went wrong with it; None where it is complete."""

_log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """A batch whose inputs are written.

    Attributes:
        taken: the batch.
        written: what of it is to be run, without a gap.
        faults: what is not, and why.
        inputs_s: seconds that it took.
    """

    taken: ScheduledBatch
    written: Sequence[Piece]
    faults: Sequence[tuple[Piece, Exception]]
    inputs_s: float


class BatchRunner:
    """Computes one batch at a time.

    Args:
        queue: where the batches come from.
        instances: of the graph.
        inputs: its own room.
        finite: which outputs must be finite.
    """

    def __init__(
        self, queue: RequestQueue, instances: InstanceGroup, inputs: BatchInputs, finite: FinitenessCheck
    ) -> None:
        self._queue = queue
        self._instances = instances
        self._inputs = inputs
        self._finite = finite

    def prepare(self, taken: ScheduledBatch) -> Prepared:
        """Have the inputs of a batch written; `run` must follow before the next is prepared."""
        self._inputs.begin(taken.size)
        written, draws, faults = self._write(taken.pieces)
        try:
            sample_batched(draws)
        except Exception as error:  # noqa: BLE001 - whatever a spec raises, the caller lives on
            _log.exception("the inputs of %d requests could not be drawn", len(written))
            faults += [(piece, error) for piece in written]
            written = []
        return Prepared(taken, written, faults, time.monotonic() - taken.at if taken.pieces else 0.0)

    def run(self, prepared: Prepared) -> list[Answer]:
        """Compute a batch whose inputs are written; returns who is answered by it, and with what."""
        answers: list[Answer] = [(request, late()) for request in prepared.taken.expired]
        if prepared.taken.pieces:
            self._finish(prepared, answers)
        return answers

    def _finish(self, prepared: Prepared, answers: list[Answer]) -> None:
        ran, faults, stages = prepared.written, prepared.faults, NO_TIME
        if ran:
            try:
                stages, broken = self._run(prepared)
                if broken:
                    ran = [piece for piece in ran if piece not in broken]
                    faults = [*faults, *((piece, self._finite.error()) for piece in broken)]
            except Exception as error:  # noqa: BLE001 - whatever a runner raises, the caller lives on
                _log.exception("a session run failed, and with it %d requests", len(ran))
                faults = [*faults, *((piece, error) for piece in ran)]
                ran = ()
        self._inputs.end()
        complete = self._queue.done(prepared.taken, ran, [piece for piece, _ in faults], stages)
        answers += [(request, _fault(error)) for (_, request), error in faults]
        answers += [(request, None) for request in complete]

    def _write(
        self, pieces: Sequence[Piece]
    ) -> tuple[Sequence[Piece], list[PendingSample], list[tuple[Piece, Exception]]]:
        """Have each request write its rows; one whose rows cannot be made fails alone, and leaves no gap."""
        written: list[Piece] = []
        draws: list[PendingSample] = []
        faults: list[tuple[Piece, Exception]] = []
        filled = 0
        for taken in pieces:
            piece, request = taken
            last = filled + piece.stop - piece.start
            try:
                draws += request.source(piece.start, piece.stop, self._inputs.rows(filled, last))
            except Exception as error:  # noqa: BLE001 - and whatever a request's own inputs raise
                _log.exception("a request's inputs could not be made")
                faults.append((taken, error))
            else:
                written.append(taken)
                filled = last
        return written, draws, faults

    def _run(self, prepared: Prepared) -> tuple[Stages, Sequence[Piece]]:
        """Compute, and give each request its rows; returns those too whose rows hold what no sound graph answers."""
        pieces, size = prepared.written, prepared.taken.size
        filled = sum([piece.stop - piece.start for piece, _ in pieces])
        feeds = self._inputs.feeds(filled, size)
        wanted = [name for _, request in pieces for name in request.outputs]
        outputs = list(dict.fromkeys([*wanted, *self._finite.outputs]))
        all_cores = self._instances.all_cores if prepared.taken.all_cores else None
        began = time.monotonic()
        batch = (all_cores or self._instances.single_thread).compute(feeds, outputs)
        ran = time.monotonic()
        broken = self._broken(pieces, batch)
        self._hand_out(pieces, batch)
        return Stages(prepared.inputs_s, ran - began, time.monotonic() - ran), broken

    def _broken(self, pieces: Sequence[Piece], batch: Outputs) -> Sequence[Piece]:
        """What of a batch is not finite, although its inputs are ordinary; counted."""
        rows = self._finite.nonfinite_rows(batch)
        if rows is None:
            return ()
        broken: list[Piece] = []
        count = first = 0
        for piece, request in pieces:
            last = first + piece.stop - piece.start
            if request.expect_finite and (found := int(rows[first:last].sum())):
                broken.append((piece, request))
                count += found
            first = last
        self._queue.met_not_finite(count)
        return broken

    def _hand_out(self, pieces: Sequence[Piece], batch: Outputs) -> None:
        split = [(piece, request) for piece, request in pieces if piece.stop - piece.start < request.samples]
        if split:
            self._queue.make_room(split, batch)
        first = 0
        for piece, request in pieces:
            request.take(piece, batch, first)
            first += piece.stop - piece.start


def late() -> DeadlinePassed:
    """What a request is told whose deadline came first."""
    return DeadlinePassed("the deadline passed before the samples were computed")


def _fault(error: Exception) -> GanymedeError:
    """A new error for each request: tasks that raise one and the same would write into one traceback."""
    if isinstance(error, NotFinite):
        return NotFinite(str(error))
    fault = SessionFailed("the session failed on the batch that held this request")
    fault.__cause__ = error
    return fault


class WorkerThread:
    """One model thread.

    Args:
        name: of the thread.
        queue: where it takes its work.
        worker: of this worker alone.
        post: is given answers, on this thread.
        ended: is called on this thread, as its last act.
    """

    def __init__(
        self,
        name: str,
        queue: RequestQueue,
        worker: BatchRunner,
        post: Callable[[Sequence[Answer]], None],
        ended: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._post = post
        self._ended = ended
        self._gate = WakeUp()
        # A daemon: a run that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    def _serve(self) -> None:
        try:
            while self._wait_and_serve():
                pass
        finally:  # whatever ended the thread, nobody may go on waiting for it
            self._ended()

    def _wait_and_serve(self) -> bool:
        """Wait for a batch, then serve until none waits; False to end. What it held is gone before the next wait."""
        taken = self._queue.take(self._gate)
        if taken is None:
            return False
        answers: Sequence[Answer] = ()
        while taken is not None:
            prepared = self._worker.prepare(taken)
            if answers:
                self._post(answers)
            answers = self._worker.run(prepared)
            taken = self._queue.take_waiting()
        self._post(answers)
        return True
