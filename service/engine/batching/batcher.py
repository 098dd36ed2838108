"""Batches the requests for one graph: the asyncio side of the queue.

    event loop                                    worker threads
    ask ──admit──▶ queue, scheduler ◀────take──── as soon as one is free
     ▲                                             rows of each slice → run → results of each slice
     │                                             │
     └──────── future ◀── call_soon_threadsafe ────┘ once per batch

The event loop computes nothing, so other requests are answered and deadlines kept during a run. Workers are woken at
the end of a turn of the loop, so that requests of one turn share a run. A request owns its future: cancelling it or
missing its deadline withdraws what is still queued and drops what is being computed; a failed run fails the requests
that were in it, and no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from service.engine.backends.base import InstanceGroup
from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.device_worker import DeviceWorker
from service.engine.batching.input_buffers import BatchInputs
from service.engine.batching.load import EngineLoad
from service.engine.batching.queue import RequestQueue, closed
from service.engine.batching.request import Request, RowSource
from service.engine.batching.stats import Meter
from service.engine.batching.worker import Answer, BatchRunner, WorkerThread, late
from service.engine.finite import UNCHECKED, FinitenessCheck
from service.engine.interface import NO_SHARE, Share
from service.engine.model_spec import Outputs, TensorSpec
from service.engine.scheduling.batch_size import BatchSizer
from service.engine.scheduling.scheduler import BatchLimits, Scheduler
from service.tracing import Attributes, RequestTrace, current

# Each expiry looks at every request that waits: seldom enough to cost little, soon enough for deadlines of seconds.
LEAST_WAIT_S = 5e-3


_share: ContextVar[Share] = ContextVar("share", default=NO_SHARE)


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Have what the current task asks of batchers inside the block be computed for this share."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


class DeadlineTimer:
    """One timer for all deadlines; it expires at most `LEAST_WAIT_S` after each.

    Args:
        expired: called when a deadline has passed; returns the earliest of those to come, None where there is none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], float | None]) -> None:
        self._loop = loop
        self._expired: Callable[[], float | None] | None = expired
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, deadline: float | None) -> None:
        """Expire for this deadline too, on `time.monotonic`; None means never."""
        if deadline is None or self._expired is None or (self._at is not None and self._at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = deadline
        self._timer = self._loop.call_later(max(LEAST_WAIT_S, deadline - time.monotonic()), self._expire)

    def stop(self) -> None:
        """Expire no more, and drop the reference to the owner: of two that hold each other neither is freed."""
        if self._timer is not None:
            self._timer.cancel()
        self._at = self._timer = self._expired = None

    def _expire(self) -> None:
        self._at = self._timer = None
        if self._expired is not None:
            self.schedule(self._expired())


class Batcher:
    """Batches the requests for one graph and shares the batches out between its worker threads.

    Make it on the event loop that asks it; `stop` ends its threads.

    Args:
        instances: sessions of the graph, and what its runs cost.
        tensors: inputs of the graph.
        buckets: allowed batch sizes, ascending; none runs each request alone and unpadded.
        meter: where it counts.
        load: of all graphs.
        finite: which outputs must be finite.
        device: runs the sessions where they are not on the CPU.
        described: what the spans of its requests say of the graph.
    """

    def __init__(  # noqa: PLR0913 - what one graph is made of
        self,
        instances: InstanceGroup,
        tensors: Sequence[TensorSpec],
        buckets: Sequence[int],
        limits: BatchLimits,
        meter: Meter,
        load: EngineLoad,
        finite: FinitenessCheck = UNCHECKED,
        *,
        device: DeviceThread | None = None,
        described: Attributes | None = None,
    ) -> None:
        costs = instances.single_thread_s, instances.all_cores_s
        sizes = BatchSizer(buckets, *costs, on_device=device is not None) if buckets else None
        splits = device is None and (sizes is None or sizes.pays_to_hand_over)
        workers = instances.concurrency if splits else 1
        self.meter = meter
        self._described = described or {}
        self._queue = RequestQueue(Scheduler(limits, sizes, workers), workers, meter, load)
        self._loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(self._loop, self._expire)
        self._workers_left = workers
        self._stopped = asyncio.Event()
        self._waking = False
        post, ended = partial(self._call_on_loop, self._answer), partial(self._call_on_loop, self._end_worker)
        slots = workers if device is None else limits.device_slots
        inputs = [BatchInputs(tensors, sizes.largest if sizes else 0) for _ in range(slots)]
        runners = [BatchRunner(self._queue, instances, each, finite, meter) for each in inputs]
        if device is not None:
            DeviceWorker(f"{meter.name}-1", self._queue, device, runners, post, ended).start()
            return
        for number, runner in enumerate(runners, 1):
            WorkerThread(f"{meter.name}-{number}", self._queue, runner, post, ended).start()

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
            source: writes the inputs of samples `start` … `stop` − 1; called on a worker thread, once for each sample.
            samples: at least 1.
            outputs: names of the outputs wanted.
            deadline: when to give up, on `time.monotonic`; None means never.
            expect_finite: whether its inputs are such that the graph must answer finite numbers.

        Returns:
            Output name → [samples, …]. An array may be a view of a larger batch: do not write to it.

        Raises:
            QueueFull: the queue has no room.
            DeadlinePassed: the deadline came first.
            NotReady: the batcher was stopped.
            SessionFailed: a run that held some of the samples failed.
            NotFinite: the outputs of some of the samples are not finite, although they should be.
        """
        future: asyncio.Future[Outputs] = self._loop.create_future()
        trace = current()
        request = Request(source, samples, outputs, deadline, future, time.monotonic(), expect_finite=expect_finite)
        request.share = _share.get()
        if trace is not None:
            request.runs = []
        try:
            self._queue.admit(request)
            if not self._waking:
                self._waking = True
                self._loop.call_soon(self._wake)
            self._timer.schedule(deadline)
            results = await future
        except BaseException as error:
            self._queue.forget(request)
            self.meter.failed(time.monotonic() - request.arrived)
            if trace is not None:
                self._trace(trace, request, error)
            if future.done() and not future.cancelled():
                future.exception()  # marks it as retrieved, also where the caller was cancelled at the same moment
            raise
        self.meter.answered(
            samples, request.began - request.arrived, request.stages, time.monotonic() - request.arrived
        )
        if trace is not None:
            self._trace(trace, request)
        return results

    def stop(self) -> None:
        """Refuse new requests, fail those that wait, and let the threads end after the runs in progress."""
        self._timer.stop()
        self._answer([(request, closed()) for request in self._queue.close()])

    async def stopped(self) -> None:
        """Wait until every worker thread has released the graph."""
        await self._stopped.wait()

    def _trace(self, trace: RequestTrace, request: Request, error: BaseException | None = None) -> None:
        """Add the spans of a request that ended: its time in the queue, and each run."""
        if request.ticket < 0:  # it was refused, which its caller is told
            return
        now = time.monotonic()
        runs = request.runs or []
        was_taken = bool(runs) or request.began > request.arrived
        samples = {"ganymede.samples": request.samples}
        waited = now if not was_taken else request.began
        trace.stage("queue", request.arrived, waited, {**self._described, **samples}, None if was_taken else error)
        for run in runs:
            said = {**self._described, **run.batch, "ganymede.samples": run.samples}
            trace.stage("run", run.began, run.ended, said, run.error)
        if was_taken and error is not None and not any(run.error for run in runs):  # cancelled or late while it ran
            trace.stage("run", max((run.ended for run in runs), default=waited), now, self._described, error)

    def _wake(self) -> None:
        self._waking = False
        self._queue.wake()

    def _answer(self, answers: Sequence[Answer]) -> None:
        """Resolve the futures of requests that still wait."""
        for request, error in answers:
            if request.future.done():
                continue
            if error is None:
                request.future.set_result(request.results)
            else:
                request.future.set_exception(error)

    def _expire(self) -> float | None:
        """Fail the late requests; returns the next deadline."""
        requests, earliest = self._queue.late()
        self._answer([(request, late()) for request in requests])
        return earliest

    def _end_worker(self) -> None:
        self.stop()
        self._workers_left -= 1
        if self._workers_left == 0:
            self.meter.end()
            self._stopped.set()

    def _call_on_loop(self, function: Callable[..., None], *args: object) -> None:
        """Call a function on the event loop; called on worker threads."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nothing waits for an answer
            self._queue.close()
