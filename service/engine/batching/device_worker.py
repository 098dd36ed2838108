"""Worker of a graph on a device: it prepares the next batch while the device runs another, each in a slot of its own.

    slot A   prepare 1 ─▶ run 1 ─▶ hand out 1 ─▶ prepare 3 ─▶ …       worker's thread: prepare and hand out
    slot B              prepare 2 ────────────▶ run 2 ─▶ hand out 2   device's thread: run

With one slot the device would idle while the latents of the next batch are drawn. A batch is prepared ahead only where
later arrivals could not improve it, since it would miss them: where it fills the largest size, or pays by itself.
Batches run and are handed out in the order in which they were taken.
"""

from collections import deque
from collections.abc import Callable, Sequence

from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.queue import RequestQueue, ScheduledBatch
from service.engine.batching.worker import NOT_COMPUTED, Answer, BatchRunner, BatchThread, Computed, Prepared
from service.errors import NotReady


class _DeviceRun:
    """A batch on its way through the device.

    Attributes:
        computed: None until the run has ended.
    """

    def __init__(self, slot: BatchRunner, prepared: Prepared) -> None:
        self.slot = slot
        self.prepared = prepared
        self.computed: Computed | None = None

    def start(self, device: DeviceThread, ended: Callable[[], None]) -> None:
        """Have the device run it; `ended` is called on its thread."""
        if not self.prepared.written:
            self.computed = NOT_COMPUTED
            return
        feeds = self.slot.feeds(self.prepared)

        def run() -> None:
            self.computed = self.slot.compute(self.prepared, feeds)
            ended()

        try:
            device.start(run)
        except NotReady as error:  # the engine stops, and does not wait for this graph any longer
            self.computed = Computed({}, 0.0, error)

    def finish(self) -> list[Answer]:
        """Hand out its results, after its end."""
        return self.slot.finish(self.prepared, self.computed or NOT_COMPUTED)


class DeviceWorker(BatchThread):
    """One thread that prepares batches and hands their results out, while the device's thread runs them.

    Args:
        device: shared by all graphs on it.
        slots: a runner for each batch that may be in work at a time.
        post: as in `BatchThread`, and so is `ended`.
    """

    def __init__(
        self,
        name: str,
        queue: RequestQueue,
        device: DeviceThread,
        slots: Sequence[BatchRunner],
        post: Callable[[Sequence[Answer]], None],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name, queue, post, ended)
        self._device = device
        self._free = deque(slots)

    def _wait_and_run(self) -> bool:
        """Wait for a batch, then run until none waits; False to end. Returning frees what the batches referred to."""
        batch = self._queue.take(self._wake_up)
        if batch is None:
            return False
        runs: deque[_DeviceRun] = deque()
        answers: list[Answer] = []
        while True:
            if batch is not None:
                answers += self._begin(batch, runs)
            if answers:
                self._post(answers)
                answers = []
            if not runs:
                return True
            batch = self._wait(runs[0])
            if batch is None:
                run = runs.popleft()
                answers = run.finish()
                self._free.append(run.slot)
                batch = None if runs else self._queue.take_waiting()

    def _begin(self, batch: ScheduledBatch, runs: deque[_DeviceRun]) -> list[Answer]:
        """Prepare a batch and hand it to the device; returns what is answered at once."""
        slot = self._free[0]
        if not batch.pieces:
            return slot.expired(batch)
        run = _DeviceRun(slot, slot.prepare(batch))
        run.start(self._device, lambda: self._queue.run_ended(self._wake_up))
        self._free.popleft()
        runs.append(run)
        return []

    def _wait(self, run: _DeviceRun) -> ScheduledBatch | None:
        """Wait until a run has ended; or until another batch is worth preparing, and return that."""
        return self._queue.take_ahead(
            self._wake_up, lambda: run.computed is not None, run.prepared.batch, has_slot=bool(self._free)
        )
