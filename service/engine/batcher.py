"""The asyncio shell around the batch policy: one queue, one model thread, a future for each request.

    event loop                                    model thread
    ask ──admit──▶ policy ◀─────────take───────── as soon as it is free
     ▲            (one lock)                      rows of each slice → run → results of each slice
     └──────── future ◀── call_soon_threadsafe ───┘

The thread takes its next batch itself, so that the model never waits for the event loop. A request owns its future:
cancelling it or missing its deadline withdraws what is still queued and drops what is being computed; a failed run
fails the requests that were in it; nobody else notices. Both threads touch the policy, but only under the lock; a
request's results belong to the model thread, and its future to the event loop.

It knows nothing of seeds or of what tensors mean: what runs is a `Runner`, and what a request feeds it are rows.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from service.engine.batch_policy import BatchLimits, BatchPolicy, Slice
from service.engine.meter import Meter
from service.engine.session import Array, Rows
from service.engine.statistics import NO_TIME, Stages
from service.errors import DeadlinePassed, GanymedeError, NotReady, SessionFailed

RowSource = Callable[[int, int], Rows]
Outputs = dict[str, Array]

_log = logging.getLogger(__name__)


class Runner(Protocol):
    """What the model thread calls; `Session` is one."""

    def run(self, rows: Sequence[Rows], batch: int, outputs: Sequence[str]) -> Outputs:
        """Run once; see `Session.run`."""
        ...


@dataclass(eq=False, slots=True)
class _Request:
    """One request between the two threads.

    Attributes:
        rows: makes the graph's inputs for its samples `start` … `stop` − 1.
        samples: how many it asks for.
        outputs: which outputs it wants.
        future: its answer; touched on the event loop only.
        arrived: on `time.monotonic`.
        began: when its first run took it, likewise; touched on the model thread only, as is what follows.
        results: output name → [samples, …].
        computed: samples that are in `results`.
        stages: of the runs it was part of.
    """

    rows: RowSource
    samples: int
    outputs: tuple[str, ...]
    future: asyncio.Future[Outputs]
    arrived: float
    began: float = 0.0
    results: Outputs = field(default_factory=dict)
    computed: int = 0
    stages: Stages = NO_TIME

    def store(self, piece: Slice, batch: Outputs, first_row: int) -> None:
        """Take this request's rows out of a batch."""
        samples = piece.stop - piece.start
        for name in self.outputs:
            rows = batch[name][first_row : first_row + samples]
            if samples == self.samples:
                self.results[name] = rows
                continue
            if name not in self.results:
                self.results[name] = np.empty((self.samples, *rows.shape[1:]), rows.dtype)
            self.results[name][piece.start : piece.stop] = rows
        self.computed += samples


_Piece = tuple[Slice, _Request]
_Answer = tuple[_Request, Outputs | GanymedeError]


class Batcher:
    """Coalesces the requests for one graph into runs of its session.

    Make it on the event loop that will ask it; `stop` ends its thread.

    Args:
        runner: the session; only the model thread uses it.
        limits: how much may run and wait.
        buckets: allowed batch sizes, ascending; none runs each request alone and unpadded.
        meter: where it counts.

    Attributes:
        meter: as given.
    """

    def __init__(self, runner: Runner, limits: BatchLimits, buckets: Sequence[int], meter: Meter) -> None:
        self._runner = runner
        self._policy = BatchPolicy(limits, buckets)
        self.meter = meter
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Condition()
        self._requests: dict[int, _Request] = {}
        self._stopping = False
        self._stopped = asyncio.Event()
        # A daemon: a run that hangs must not keep the process from ending.
        threading.Thread(target=self._serve, name=meter.name, daemon=True).start()

    async def ask(
        self, rows: RowSource, samples: int, outputs: Sequence[str], deadline: float | None = None
    ) -> Outputs:
        """Have samples computed.

        Args:
            rows: makes the inputs of samples `start` … `stop` − 1; called on the model thread, in ascending order.
            samples: how many, at least 1.
            outputs: names of the outputs wanted.
            deadline: when to give up, on `time.monotonic`; None never.

        Returns:
            Output name → [samples, …]. An array may be a view of a larger batch: do not write to it.

        Raises:
            QueueFull: the queue has no room.
            DeadlinePassed: the deadline came first.
            NotReady: the batcher was stopped.
            SessionFailed: a run that held some of the samples failed.
        """
        request = _Request(rows, samples, tuple(outputs), self._loop.create_future(), time.monotonic())
        results: Outputs | None = None
        try:
            results = await self._answer(request, deadline)
        finally:
            whole_s = time.monotonic() - request.arrived
            if results is None:
                self.meter.failed(whole_s)
            else:
                self.meter.answered(samples, request.began - request.arrived, request.stages, whole_s)
        return results

    def stop(self) -> None:
        """Refuse new requests, fail those that wait, and let the thread end after the run in progress."""
        with self._lock:
            self._stopping = True
            waiting = list(self._requests.values())
            self._lock.notify()
        self._settle([(request, _stopped()) for request in waiting])

    async def stopped(self) -> None:
        """Wait until the model thread has let go of the session."""
        await self._stopped.wait()

    async def _answer(self, request: _Request, deadline: float | None) -> Outputs:
        with self._lock:
            if self._stopping:
                raise _stopped()
            ticket = self._policy.admit(request.samples, deadline, request.arrived)
            self._requests[ticket] = request
            self.meter.queue_is(self._policy.queued_samples)
            self._lock.notify()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - request.arrived):
                return await request.future
        except TimeoutError:
            raise _late() from None
        finally:
            self._forget(ticket, request)

    def _settle(self, answers: Sequence[_Answer]) -> None:
        """Answer those who still wait."""
        for request, answer in answers:
            if request.future.done():
                continue
            if isinstance(answer, GanymedeError):
                request.future.set_exception(answer)
            else:
                request.future.set_result(answer)

    def _forget(self, ticket: int, request: _Request) -> None:
        with self._lock:
            self._policy.withdraw(ticket)
            del self._requests[ticket]
            self.meter.queue_is(self._policy.queued_samples)
        if request.future.done() and not request.future.cancelled():
            request.future.exception()  # taken notice of, also where its caller was cancelled at the same moment

    def _end(self) -> None:
        self.stop()
        self._stopped.set()

    # The rest runs on the model thread.

    def _serve(self) -> None:
        try:
            while self._serve_one_batch():
                pass
        finally:  # whatever ended the thread, nobody may go on waiting for it
            self._post(self._end)

    def _serve_one_batch(self) -> bool:
        """Wait for a batch and run it; False to end. What it held is let go of before the next wait."""
        work = self._wait_for_work()
        if work is not None:
            self._post(self._settle, self._work(*work))
        return work is not None

    def _wait_for_work(self) -> tuple[list[_Piece], int] | None:
        """The next batch's pieces and size, as soon as there is one; None to end."""
        with self._lock:
            while not self._stopping:
                now = time.monotonic()
                decision = self._policy.take(now)
                if decision.expired:
                    self._post(self._settle, [(self._requests[ticket], _late()) for ticket in decision.expired])
                if decision.batch is not None:
                    pieces = [(piece, self._requests[piece.ticket]) for piece in decision.batch.slices]
                    self.meter.queue_is(self._policy.queued_samples)
                    for piece, request in pieces:
                        if piece.start == 0:
                            request.began = now
                            self.meter.waited(now - request.arrived)
                    return pieces, decision.batch.size
                self._lock.wait()
        return None

    def _work(self, pieces: list[_Piece], size: int) -> list[_Answer]:
        """Run one batch; returns the answers of those whom it finished or failed."""
        started = time.monotonic()
        drawn, rows, failed = _draw(pieces)
        if drawn:
            try:
                self._run(drawn, rows, size, started)
            except Exception as error:  # noqa: BLE001 - whatever a session raises, the batcher lives on
                _log.exception("a session run failed, and with it %d requests", len(drawn))
                failed += [(piece, request, error) for piece, request in drawn]
        self._withdraw([piece.ticket for piece, _, _ in failed])
        answers: list[_Answer] = [(request, _fault(error)) for _, request, error in failed]
        return answers + [(request, request.results) for _, request in drawn if request.computed == request.samples]

    def _run(self, pieces: list[_Piece], rows: list[Rows], size: int, started: float) -> None:
        outputs = list(dict.fromkeys(name for _, request in pieces for name in request.outputs))
        drawn = time.monotonic()
        batch = self._runner.run(rows, size, outputs)
        ran = time.monotonic()
        samples = 0
        for piece, request in pieces:
            request.store(piece, batch, samples)
            samples += piece.stop - piece.start
        stages = Stages(drawn - started, ran - drawn, time.monotonic() - ran)
        for _, request in pieces:
            request.stages += stages
        self.meter.ran(samples, size, stages)
        with self._lock:
            self._policy.measure(samples, stages.run_s)

    def _withdraw(self, tickets: list[int]) -> None:
        with self._lock:
            for ticket in tickets:
                self._policy.withdraw(ticket)

    def _post(self, function: Callable[..., None], *args: object) -> None:
        """Call a function on the event loop; nobody is left to hear if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self._stopping = True


def _draw(pieces: list[_Piece]) -> tuple[list[_Piece], list[Rows], list[tuple[Slice, _Request, Exception]]]:
    """Make the rows of each piece; a request whose rows cannot be made fails alone."""
    drawn: list[_Piece] = []
    rows: list[Rows] = []
    failed: list[tuple[Slice, _Request, Exception]] = []
    for piece, request in pieces:
        try:
            rows.append(request.rows(piece.start, piece.stop))
            drawn.append((piece, request))
        except Exception as error:  # noqa: BLE001 - and whatever a request's own inputs raise
            _log.exception("a request's inputs could not be made")
            failed.append((piece, request, error))
    return drawn, rows, failed


def _fault(error: Exception) -> GanymedeError:
    """A new error for each request: tasks that raise one and the same would write into one traceback."""
    fault = SessionFailed("the session failed on the batch that held this request")
    fault.__cause__ = error
    return fault


def _late() -> DeadlinePassed:
    return DeadlinePassed("the deadline passed before the samples were computed")


def _stopped() -> NotReady:
    return NotReady("the model has been stopped")
