"""Thread-safe request queue of one graph, shared by the event loop and the worker threads.

    event loop ──admit, wake, forget──▶ RequestQueue(Scheduler) ◀──take, done── worker threads

A free worker takes its next batch itself, so that no worker waits for the event loop. Idle workers are woken one at a
time, the one that has been idle for the shortest time first, whose caches are warm; a worker that takes a batch and
leaves samples behind wakes the next. A worker of a device takes a batch while another runs, and is woken by whichever
comes first, enough samples or the end of that run.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.engine.batching.load import EngineLoad
from service.engine.batching.request import Request
from service.engine.batching.stats import Meter
from service.engine.model_spec import Outputs
from service.engine.scheduling.scheduler import Scheduler, Slice
from service.engine.statistics import Stages
from service.errors import NotReady

Piece = tuple[Slice, Request]


class ScheduledBatch(NamedTuple):
    """What a worker takes from the queue.

    Attributes:
        pieces: to run together; empty where only late requests were found.
        size: rows of the run.
        all_cores: whether to run on all cores.
        expired: requests that cannot be done before their deadline.
        at: when it was taken, on `time.monotonic`.
    """

    pieces: Sequence[Piece]
    size: int
    all_cores: bool
    expired: Sequence[Request]
    at: float


class WakeUp:
    """A binary semaphore on which one worker sleeps: `threading.Semaphore` takes ten Python calls for a wake-up.

    Attributes:
        wait: sleeps until `set` is called.
        set: wakes the worker; once per `wait`.
    """

    __slots__ = ("set", "wait")

    def __init__(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        self.wait: Callable[[], object] = lock.acquire
        self.set: Callable[[], object] = lock.release


class RequestQueue:
    """The queue of one graph.

    Args:
        workers: how many take from it.
        meter: counts samples in the queue, waits and runs.
        load: of all graphs.
    """

    def __init__(self, scheduler: Scheduler, workers: int, meter: Meter, load: EngineLoad) -> None:
        self._scheduler = scheduler
        self._workers = workers
        self._meter = meter
        self._load = load
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._idle: list[WakeUp] = []
        self._waits_for_run: WakeUp | None = None
        self._takes_ahead = False  # the one that waits for a run, too, where a batch is worth it
        self._runs = 0
        self._last_end = -math.inf
        self._closed = False

    # Called on the event loop.

    def admit(self, request: Request) -> None:
        """Queue a request; `wake` starts it.

        Raises:
            QueueFull: the queue has no room.
            DeadlinePassed: it is late already.
            NotReady: the queue is closed.
        """
        with self._lock:
            if self._closed:
                raise closed()
            request.ticket = self._scheduler.admit(request.samples, request.deadline, request.arrived, request.share)
            self._requests[request.ticket] = request
            self._meter.queue_is(self._scheduler.queued_samples)

    def expected_s(self, samples: int) -> float | None:
        """As `Scheduler.expected_s`."""
        with self._lock:
            return self._scheduler.expected_s(samples)

    def wake(self) -> None:
        """Wake an idle worker where samples wait."""
        with self._lock:
            if self._idle:
                if self._scheduler.queued_samples:
                    self._idle.pop().set()
            elif self._takes_ahead and self._scheduler.pays_ahead():
                self._stop_waiting()

    def late(self) -> tuple[list[Request], float | None]:
        """The requests whose deadline has passed, and the earliest deadline of the others; None where there is none."""
        now = time.monotonic()
        with self._lock:
            timed = [(request.deadline, request) for request in self._requests.values() if request.deadline is not None]
        late = [request for deadline, request in timed if deadline <= now]
        return late, min((deadline for deadline, _ in timed if deadline > now), default=None)

    def forget(self, request: Request) -> None:
        """Remove a request, and what is left of it in the queue."""
        with self._lock:
            if self._requests.pop(request.ticket, None) is not None:
                self._scheduler.withdraw(request.ticket)
                self._meter.queue_is(self._scheduler.queued_samples)

    def close(self) -> list[Request]:
        """Admit no more requests, and let the workers end after their runs; returns the requests there are."""
        with self._lock:
            self._closed = True
            for wake_up in self._idle:
                wake_up.set()
            self._idle.clear()
            return list(self._requests.values())

    # Called on worker threads.

    def take(self, wake_up: WakeUp) -> ScheduledBatch | None:
        """Wait for the next batch; None once the queue is closed."""
        while True:
            with self._lock:
                if self._closed:
                    return None
                batch = self._schedule()
                if batch is not None:
                    return batch
                self._idle.append(wake_up)
            wake_up.wait()

    def take_waiting(self) -> ScheduledBatch | None:
        """Take the next batch if there is one; None where nothing waits or the queue is closed."""
        with self._lock:
            return None if self._closed else self._schedule()

    def take_ahead(
        self, wake_up: WakeUp, has_ended: Callable[[], bool], running: ScheduledBatch, *, has_slot: bool
    ) -> ScheduledBatch | None:
        """Wait for the end of a run on the device, or take a batch that is worth preparing during the run.

        Args:
            has_ended: whether the run has; `run_ended` must follow when it does.
            running: the batch.
            has_slot: whether another could be prepared.

        Returns:
            The batch that was taken; None as soon as the run has ended.
        """
        while True:
            with self._lock:
                if has_ended():
                    return None
                takes_ahead = has_slot and not self._closed
                if takes_ahead and self._scheduler.pays_ahead():
                    ends_at = max(running.at, self._last_end) + self._scheduler.run_s(running.size)
                    batch = self._schedule(begins_at=ends_at)
                    if batch is not None:
                        return batch
                self._waits_for_run, self._takes_ahead = wake_up, takes_ahead
            wake_up.wait()

    def run_ended(self, wake_up: WakeUp) -> None:
        """Wake a worker that waits for the end of a run; on the device's thread."""
        with self._lock:
            if self._waits_for_run is wake_up:
                self._stop_waiting()

    def allocate(self, pieces: Sequence[Piece], batch: Outputs) -> None:
        """Have each request allocate its results, in whichever of its runs ends first."""
        with self._lock:
            for _, request in pieces:
                request.allocate(batch)

    def done(
        self, batch: ScheduledBatch, ran: Sequence[Piece], failed: Sequence[Piece], stages: Stages
    ) -> list[Request]:
        """Count the end of a run.

        Args:
            ran: the pieces of `batch` that were computed.
            failed: those that were not.

        Returns:
            The requests that are complete now.
        """
        now = time.monotonic()
        complete: list[Request] = []
        samples = 0
        with self._lock:
            self._runs -= 1
            self._load.run_ended()
            for piece, _ in failed:
                self._scheduler.withdraw(piece.ticket)
            for piece, request in ran:
                samples += piece.stop - piece.start
                if request.count(piece, stages):
                    complete.append(request)
                    self._requests.pop(request.ticket, None)
            if ran:
                self._meter.ran(samples, batch.size, stages)
                # A batch that was taken ahead occupied its worker from the end of the run before it.
                began = max(batch.at, self._last_end) if self._workers == 1 else batch.at
                self._scheduler.ran(batch.size, now - began, now, all_cores=batch.all_cores)
            self._last_end = now
        return complete

    def _stop_waiting(self) -> None:
        if self._waits_for_run is not None:
            self._waits_for_run.set()
        self._waits_for_run, self._takes_ahead = None, False

    def _schedule(self, begins_at: float = -math.inf) -> ScheduledBatch | None:
        """Take what the scheduler chooses, and wake another worker where samples are left; None where none wait.

        Args:
            begins_at: when the device has run what it runs now, of a batch that is taken ahead.
        """
        now = time.monotonic()
        ahead = begins_at > -math.inf
        batch, tickets = self._scheduler.take(
            max(now, begins_at), 1 if ahead else self._workers - self._runs, alone=self._load.runs == 0
        )
        expired = [self._requests[ticket] for ticket in tickets] if tickets else ()
        if batch is None:
            return ScheduledBatch((), 0, all_cores=False, expired=expired, at=now) if expired else None
        self._runs += 1
        self._load.run_began()
        queued = self._scheduler.queued_samples
        self._meter.queue_is(queued)
        if queued and self._idle:
            self._idle.pop().set()
        pieces: list[Piece] = []
        for piece in batch.slices:
            request = self._requests[piece.ticket]
            pieces.append((piece, request))
            if piece.start == 0:
                request.began = now
                self._meter.waited(now - request.arrived)
        return ScheduledBatch(pieces, batch.size, batch.all_cores, expired, now)


def closed() -> NotReady:
    """The error of requests that wait or come when the queue is closed; one per request."""
    return NotReady("the model has been stopped")
