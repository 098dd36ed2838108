"""The asyncio shell around the workers: who asks is queued, waits, and is answered once.

    event loop                                    workers, one model thread a core
    ask ──admit──▶ queue: queue, policy ◀───take── as soon as one is free
     ▲                                             rows of each slice → run → results of each slice
     │                                             │
     └──────── future ◀── call_soon_threadsafe ────┘ once a batch

The event loop computes nothing: whatever a graph does, others are answered meanwhile, and deadlines are kept. Workers
are woken at the end of a turn, so that whatever came in that turn shares a run. A request owns its future: cancelling
it or missing its deadline withdraws what is still queued and drops what is being computed; a failed run fails the
requests that were in it; nobody else notices. It knows nothing of seeds or of what tensors mean, and leaves threads
and locks to `batching/queue.py` and `batching/worker.py`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from service.engine.backends.base import InstanceGroup
from service.engine.batching.batch_size import BatchSizer
from service.engine.batching.input_buffers import BatchInputs
from service.engine.batching.load import EngineLoad
from service.engine.batching.queue import RequestQueue, stopped
from service.engine.batching.request import Request, RowSource
from service.engine.batching.scheduler import BatchLimits, Scheduler
from service.engine.batching.stats import Meter
from service.engine.batching.worker import Answer, BatchRunner, WorkerThread, late
from service.engine.finite import UNCHECKED, FinitenessCheck
from service.engine.model_spec import Outputs, TensorSpec

# Who rings looks through all that wait, each perhaps with a deadline of its own: so seldom that it costs little, and
# that nobody who waited for seconds notices.
LEAST_WAIT_S = 5e-3


class DeadlineAlarm:
    """Rings when a deadline passes, or up to `LEAST_WAIT_S` later.

    Args:
        loop: that rings.
        ring: is told that a deadline has passed; answers the earliest of those to come, None where there is none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], float | None]) -> None:
        self._loop = loop
        self._ring: Callable[[], float | None] | None = ring
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def by(self, deadline: float | None) -> None:
        """Ring for this time too, on `time.monotonic`; None is never."""
        if deadline is None or self._ring is None or (self._at is not None and self._at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = deadline
        self._timer = self._loop.call_later(max(LEAST_WAIT_S, deadline - time.monotonic()), self._rung)

    def stop(self) -> None:
        """Ring no more, and let go of who would have been told: of two that hold each other neither is freed."""
        if self._timer is not None:
            self._timer.cancel()
        self._at = self._timer = self._ring = None

    def _rung(self) -> None:
        self._at = self._timer = None
        if self._ring is not None:
            self.by(self._ring())


class Batcher:
    """Coalesces the requests for one graph into runs, and shares them out between its workers.

    Make it on the event loop that will ask it; `stop` ends its threads.

    Args:
        instances: the graph, and what it costs here.
        tensors: its inputs.
        buckets: allowed batch sizes, ascending; none runs each request alone and unpadded.
        limits: how much may run and wait.
        meter: where it counts.
        load: of all graphs.
        finite: which outputs must be finite.

    Attributes:
        meter: as given.
    """

    def __init__(
        self,
        instances: InstanceGroup,
        tensors: Sequence[TensorSpec],
        buckets: Sequence[int],
        limits: BatchLimits,
        meter: Meter,
        load: EngineLoad,
        finite: FinitenessCheck = UNCHECKED,
    ) -> None:
        sizes = BatchSizer(buckets, instances.single_thread_s, instances.all_cores_s) if buckets else None
        workers = instances.concurrency if sizes is None or sizes.pays_to_hand_over else 1
        self.meter = meter
        self._queue = RequestQueue(Scheduler(limits, sizes, workers), workers, meter, load)
        self._loop = asyncio.get_running_loop()
        self._alarm = DeadlineAlarm(self._loop, self._end_late)
        self._workers_left = workers
        self._stopped = asyncio.Event()
        self._waking = False

        def worker() -> BatchRunner:
            return BatchRunner(self._queue, instances, BatchInputs(tensors, sizes.largest if sizes else 0), finite)

        for number in range(1, workers + 1):
            WorkerThread(f"{meter.name}-{number}", self._queue, worker(), self._post_answers, self._post_end).start()

    def expected_s(self, samples: int) -> float | None:
        """Seconds that a request of so many samples would take if it came now; None where that is unknown."""
        return self._queue.expected_s(samples)

    async def ask(
        self,
        source: RowSource,
        samples: int,
        outputs: Sequence[str],
        deadline: float | None = None,
        *,
        expect_finite: bool = True,
    ) -> Outputs:
        """Have samples computed.

        Args:
            source: writes the inputs of samples `start` … `stop` − 1; called where they are computed, for each once.
            samples: how many, at least 1.
            outputs: names of the outputs wanted.
            deadline: when to give up, on `time.monotonic`; None never.
            expect_finite: whether its inputs are such that the graph must answer finite numbers.

        Returns:
            Output name → [samples, …]. An array may be a view of a larger batch: do not write to it.

        Raises:
            QueueFull: the queue has no room.
            DeadlinePassed: the deadline came first.
            NotReady: the batcher was stopped.
            SessionFailed: a run that held some of the samples failed.
            NotFinite: what it gave for some of the samples is not finite, although it should be.
        """
        future: asyncio.Future[Outputs] = self._loop.create_future()
        request = Request(source, samples, outputs, deadline, future, time.monotonic(), expect_finite=expect_finite)
        try:
            self._queue.admit(request)
            if not self._waking:
                self._waking = True
                self._loop.call_soon(self._wake)
            self._alarm.by(deadline)
            results = await request.future
        except BaseException:
            self._queue.forget(request)
            self.meter.failed(time.monotonic() - request.arrived)
            if request.future.done() and not request.future.cancelled():
                request.future.exception()  # taken notice of, also where its caller was cancelled at the same moment
            raise
        self.meter.answered(
            samples, request.began - request.arrived, request.stages, time.monotonic() - request.arrived
        )
        return results

    def stop(self) -> None:
        """Refuse new requests, fail those that wait, and let the threads end after the runs in progress."""
        self._alarm.stop()
        self._settle([(request, stopped()) for request in self._queue.close()])

    async def stopped(self) -> None:
        """Wait until every model thread has let go of the graph."""
        await self._stopped.wait()

    def _wake(self) -> None:
        """See to all that came in this turn of the event loop: it could not be run together before the turn's end."""
        self._waking = False
        self._queue.wake()

    def _settle(self, answers: Sequence[Answer]) -> None:
        """Answer those who still wait."""
        for request, error in answers:
            if request.future.done():
                continue
            if error is None:
                request.future.set_result(request.results)
            else:
                request.future.set_exception(error)

    def _end_late(self) -> float | None:
        """Tell those that they are late who are; returns the next deadline."""
        requests, earliest = self._queue.late()
        self._settle([(request, late()) for request in requests])
        return earliest

    def _end_worker(self) -> None:
        self.stop()
        self._workers_left -= 1
        if self._workers_left == 0:
            self.meter.end()
            self._stopped.set()

    # Called on the workers.

    def _post_answers(self, answers: Sequence[Answer]) -> None:
        self._post(self._settle, answers)

    def _post_end(self) -> None:
        self._post(self._end_worker)

    def _post(self, function: Callable[..., None], *args: object) -> None:
        """Call a function on the event loop; nobody is left to hear if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self._queue.close()
