"""Where requests and workers meet: one queue, one lock, and the workers that wait for work.

    event loop ──admit, wake, forget──▶ RequestQueue ◀──take, done── workers
                                         │
                             Scheduler, and who waits

A worker that is free takes its next batch itself, so that no model thread waits for the event loop. Workers that find
nothing are woken one at a time, the one that waited last first, whose memory is warm; who takes a batch and leaves
something behind wakes the next. It knows threads and tickets, and nothing of futures, tensors or what runs cost.
"""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from service.engine.batching.load import EngineLoad
from service.engine.batching.request import Request
from service.engine.batching.scheduler import Scheduler, Slice
from service.engine.batching.stats import Meter
from service.engine.model_spec import Outputs
from service.engine.statistics import Stages
from service.errors import NotReady

Piece = tuple[Slice, Request]


class ScheduledBatch(NamedTuple):
    """What was taken from the queue.

    Attributes:
        pieces: to run together; none where only late requests were met.
        size: rows of the run.
        all_cores: whether to run on all cores.
        expired: requests whose deadline has passed.
        at: when, on `time.monotonic`.
    """

    pieces: Sequence[Piece]
    size: int
    all_cores: bool
    expired: Sequence[Request]
    at: float


class WakeUp:
    """Where one worker waits until it is woken."""

    def __init__(self) -> None:
        self._shut = threading.Lock()
        self._shut.acquire()

    def wait(self) -> None:
        """Wait to be opened; it shuts behind."""
        self._shut.acquire()

    def open(self) -> None:
        """Let the worker through; once a wait."""
        self._shut.release()


class RequestQueue:
    """The queue of one graph, and the workers that take from it.

    Args:
        policy: which samples run next.
        workers: how many there will be.
        meter: where the queue's length is counted.
        load: of all graphs.
    """

    def __init__(self, policy: Scheduler, workers: int, meter: Meter, load: EngineLoad) -> None:
        self._policy = policy
        self._workers = workers
        self._meter = meter
        self._load = load
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._idle: list[WakeUp] = []
        self._runs = 0
        self._stopping = False

    # Called on the event loop.

    def admit(self, request: Request) -> None:
        """Queue a request; a worker that waits is told by `wake`.

        Raises:
            QueueFull: the queue has no room.
            DeadlinePassed: it is late already.
            NotReady: the queue is closed.
        """
        with self._lock:
            if self._stopping:
                raise stopped()
            request.ticket = self._policy.admit(request.samples, request.deadline, request.arrived)
            self._requests[request.ticket] = request
            self._meter.queue_is(self._policy.queued_samples)

    def expected_s(self, samples: int) -> float | None:
        """As `Scheduler.expected_s`."""
        with self._lock:
            return self._policy.expected_s(samples)

    def wake(self) -> None:
        """Let a worker that waits see what was admitted."""
        with self._lock:
            gate = self._idle.pop() if self._idle and self._policy.queued_samples else None
        if gate is not None:
            gate.open()

    def late(self) -> tuple[list[Request], float | None]:
        """The requests whose deadline has passed, and the earliest deadline of the others; None where there is none."""
        now = time.monotonic()
        with self._lock:
            timed = [(request.deadline, request) for request in self._requests.values() if request.deadline is not None]
        late = [request for deadline, request in timed if deadline <= now]
        return late, min((deadline for deadline, _ in timed if deadline > now), default=None)

    def forget(self, request: Request) -> None:
        """Take a request off the books, and what is left of it out of the queue."""
        with self._lock:
            if self._requests.pop(request.ticket, None) is not None:
                self._policy.withdraw(request.ticket)
                self._meter.queue_is(self._policy.queued_samples)

    def close(self) -> list[Request]:
        """Take no more requests, and let the workers end after their runs; returns the requests there are."""
        with self._lock:
            self._stopping = True
            gates, self._idle = self._idle, []
            waiting = list(self._requests.values())
        for gate in gates:
            gate.open()
        return waiting

    # Called on the workers.

    def take(self, gate: WakeUp) -> ScheduledBatch | None:
        """Take the next batch, as soon as there is one; None to end."""
        while True:
            with self._lock:
                if self._stopping:
                    return None
                taken, next_gate = self._taken_by_worker()
                if taken is not None:
                    break
                self._idle.append(gate)
            gate.wait()
        if next_gate is not None:
            next_gate.open()
        return taken

    def take_waiting(self) -> ScheduledBatch | None:
        """Take the next batch if one waits already; None where none does, or to end."""
        with self._lock:
            taken, next_gate = (None, None) if self._stopping else self._taken_by_worker()
        if next_gate is not None:
            next_gate.open()
        return taken

    def _taken_by_worker(self) -> tuple[ScheduledBatch | None, WakeUp | None]:
        """What a worker takes, and who is to be woken for what it leaves behind."""
        taken = self._taken()
        if not (taken.pieces or taken.expired):
            return None, None
        return taken, self._idle.pop() if self._idle and self._policy.queued_samples else None

    def make_room(self, pieces: Sequence[Piece], batch: Outputs) -> None:
        """Have room for what comes in several batches, whichever worker is first."""
        with self._lock:
            for _, request in pieces:
                request.make_room(batch)

    def met_not_finite(self, samples: int) -> None:
        """Count samples whose outputs are not finite, although they should be."""
        with self._lock:
            self._meter.met_not_finite(samples)

    def done(
        self, taken: ScheduledBatch, ran: Sequence[Piece], failed: Sequence[Piece], stages: Stages
    ) -> list[Request]:
        """Note the end of a run.

        Args:
            taken: what was to be run.
            ran: what of it was.
            failed: what was not.
            stages: of the run.

        Returns:
            The requests that are complete now.
        """
        samples = sum([piece.stop - piece.start for piece, _ in ran])
        with self._lock:
            self._runs -= 1
            self._load.leave()
            for piece, _ in failed:
                self._policy.withdraw(piece.ticket)
            if ran:
                self._meter.ran(samples, taken.size, stages)
                now = time.monotonic()
                self._policy.ran(taken.size, now - taken.at, now, all_cores=taken.all_cores)
            complete = [request for piece, request in ran if request.count(piece, stages)]
            for request in complete:
                self._requests.pop(request.ticket, None)
            return complete

    def _taken(self) -> ScheduledBatch:
        """Ask the policy, and note what it gives away."""
        now = time.monotonic()
        if self._policy.queued_samples == 0:
            return ScheduledBatch((), 0, all_cores=False, expired=(), at=now)
        decision = self._policy.take(now, self._workers - self._runs, alone=self._load.runs == 0)
        expired = [self._requests[ticket] for ticket in decision.expired]
        if decision.batch is None:
            return ScheduledBatch((), 0, all_cores=False, expired=expired, at=now)
        self._runs += 1
        self._load.enter()
        self._meter.queue_is(self._policy.queued_samples)
        pieces = [(piece, self._requests[piece.ticket]) for piece in decision.batch.slices]
        for piece, request in pieces:
            if piece.start == 0:
                request.began = now
                self._meter.waited(now - request.arrived)
        return ScheduledBatch(pieces, decision.batch.size, decision.batch.all_cores, expired, now)


def stopped() -> NotReady:
    """What those are told who wait or come when the queue is closed."""
    return NotReady("the model has been stopped")
