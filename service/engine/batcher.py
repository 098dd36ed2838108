"""The asyncio shell around the lanes: who asks is queued, waits, and is answered once.

    event loop                                    lanes, one model thread a core
    ask ──admit──▶ desk: queue, policy ◀───take── as soon as one is free
     ▲                                            rows of each slice → run → results of each slice
     └──────── future ◀── call_soon_threadsafe ───┘ once a batch

A request owns its future: cancelling it or missing its deadline withdraws what is still queued and drops what is being
computed; a failed run fails the requests that were in it; nobody else notices. It knows nothing of seeds or of what
tensors mean, and leaves threads and locks to `service/engine/desk.py` and `service/engine/lane.py`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from service.engine.batch_policy import BatchLimits, BatchPolicy
from service.engine.desk import Desk, stopped
from service.engine.graphs import TensorSpec
from service.engine.inputs import BatchInputs
from service.engine.lane import Answer, Lane, late
from service.engine.meter import Meter
from service.engine.occupancy import Occupancy
from service.engine.request import Request, RowSource
from service.engine.run_sizes import RunSizes
from service.engine.runners import Outputs, Runners


class Batcher:
    """Coalesces the requests for one graph into runs, and shares them out between its lanes.

    Make it on the event loop that will ask it; `stop` ends its threads.

    Args:
        runners: the graph, and what it costs here.
        tensors: its inputs.
        buckets: allowed batch sizes, ascending; none runs each request alone and unpadded.
        limits: how much may run and wait.
        meter: where it counts.
        occupancy: of all graphs.

    Attributes:
        meter: as given.
    """

    def __init__(
        self,
        runners: Runners,
        tensors: Sequence[TensorSpec],
        buckets: Sequence[int],
        limits: BatchLimits,
        meter: Meter,
        occupancy: Occupancy,
    ) -> None:
        sizes = RunSizes(buckets, runners.narrow_s, runners.wide_s) if buckets else None
        lanes = runners.lanes if sizes is None or sizes.pays_to_hand_over else 1
        self.meter = meter
        self._desk = Desk(BatchPolicy(limits, sizes, lanes), lanes, meter, occupancy)
        self._loop = asyncio.get_running_loop()
        self._lanes_left = lanes
        self._stopped = asyncio.Event()
        self._waking = False
        for number in range(1, lanes + 1):
            inputs = BatchInputs(tensors, sizes.largest if sizes else 0)
            name = f"{meter.name}-{number}"
            Lane(name, self._desk, runners, inputs, meter, self._post_answers, self._post_end).start()

    async def ask(
        self, source: RowSource, samples: int, outputs: Sequence[str], deadline: float | None = None
    ) -> Outputs:
        """Have samples computed.

        Args:
            source: writes the inputs of samples `start` … `stop` − 1; called on model threads, for every sample once.
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
        request = Request(source, samples, outputs, self._loop.create_future(), time.monotonic())
        try:
            results = await self._answer(request, deadline)
        except BaseException:
            self.meter.failed(time.monotonic() - request.arrived)
            raise
        whole_s = time.monotonic() - request.arrived
        self.meter.answered(samples, request.began - request.arrived, request.stages, whole_s)
        return results

    def stop(self) -> None:
        """Refuse new requests, fail those that wait, and let the threads end after the runs in progress."""
        self._settle([(request, stopped()) for request in self._desk.close()])

    async def stopped(self) -> None:
        """Wait until every model thread has let go of the graph."""
        await self._stopped.wait()

    async def _answer(self, request: Request, deadline: float | None) -> Outputs:
        self._desk.admit(request, deadline)
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        alarm = None
        if deadline is not None:
            alarm = self._loop.call_later(deadline - request.arrived, self._expire, request)
        try:
            return await request.future
        finally:
            if alarm is not None:
                alarm.cancel()
            self._desk.forget(request)
            if not request.future.cancelled() and request.future.done():
                request.future.exception()  # taken notice of, also where its caller was cancelled at the same moment

    def _wake(self) -> None:
        """Wake a lane for all that came in this turn of the event loop: it could not run before the turn's end."""
        self._waking = False
        self._desk.wake()

    def _settle(self, answers: Sequence[Answer]) -> None:
        """Answer those who still wait."""
        for request, error in answers:
            if request.future.done():
                continue
            if error is None:
                request.future.set_result(request.results)
            else:
                request.future.set_exception(error)

    def _expire(self, request: Request) -> None:
        self._settle([(request, late())])

    def _end_lane(self) -> None:
        self.stop()
        self._lanes_left -= 1
        if self._lanes_left == 0:
            self._stopped.set()

    # Called on the lanes.

    def _post_answers(self, answers: Sequence[Answer]) -> None:
        self._post(self._settle, answers)

    def _post_end(self) -> None:
        self._post(self._end_lane)

    def _post(self, function: Callable[..., None], *args: object) -> None:
        """Call a function on the event loop; nobody is left to hear if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self._desk.close()
