"""Every interleaving of asking, cancelling, being late, finishing, failing and stopping that Hypothesis can think of.

A real event loop, real model threads and a real session; only the moments when runs end are the machine's. After each
step every worker either stands before the end of a run or has nothing to do, so the machine always knows which requests
are in which run, and holds the batcher to it:

    - every admitted request is answered exactly once, with the bytes that its samples have alone, or with the error
      that this step caused: cancelling, missing a deadline or failing one never touches another;
    - every sample of a request that was answered was run exactly once, whichever worker it was;
    - no worker stands idle while samples wait, and nothing else runs when a run begins on all cores;
    - on a device one run is in progress at a time, and a batch that fills the largest size is prepared during it;
    - no request is refused while there is room, and none admitted when there is none.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from service.engine.batching.batcher import Batcher
from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.load import EngineLoad
from service.engine.batching.stats import Meter
from service.engine.model_spec import Outputs
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import DeadlinePassed, GanymedeError, NotReady, QueueFull, SessionFailed
from service.metrics import Telemetry
from tests.support.gate import PATIENCE_S, TOY, Gate, Run, toy_latents, toy_session

# Runs end when the test says so, however long that is.
LIMITS = BatchLimits(max_batch_samples=4, queue_samples=12, request_queue_samples=5, queue_wait_s=math.inf)
BUCKETS = (1, 2, 4)
LARGEST_REQUEST = 10
SAMPLES = 64
SOON_S = 0.005  # a deadline that passes while the runs in progress are held
# Of two workers; sizes up to the largest are worth it, and each would be sooner done on all cores than split.
ALL_CORES_S = {1: 0.6, 2: 0.9, 4: 1.3}
# So short that no request is refused for its deadline; equal, so that only what fills a run is prepared ahead.
DEVICE_COSTS = dict.fromkeys(BUCKETS, 1e-6)

_session = toy_session()
ALONE = [
    _session.compute({"latent": toy_latents(i, 1)}, ["sample", "pixels"]) for i in range(SAMPLES + LARGEST_REQUEST)
]

first_samples = st.integers(0, SAMPLES - 1)
counts = st.integers(1, LARGEST_REQUEST)


@dataclass(eq=False)
class Asked:
    """What the machine knows of a request that was admitted."""

    first: int
    count: int
    task: asyncio.Task[Outputs]
    begun: set[int] = field(default_factory=set)  # samples whose run has begun
    done: set[int] = field(default_factory=set)

    @property
    def held(self) -> int:
        return min(self.count - len(self.begun), LIMITS.request_queue_samples)


@dataclass
class Known:
    """The machine's picture of the batcher."""

    waiting: dict[str, Asked] = field(default_factory=dict)  # admitted, and not answered yet
    running: list[Run] = field(default_factory=list)
    prepared: set[tuple[str, int, int]] = field(default_factory=set)  # slices of the batch that was taken ahead
    asked: int = 0

    @property
    def queued(self) -> int:
        return sum(asked.held for asked in self.waiting.values())


class BatcherMachine(RuleBasedStateMachine):
    """Rules are what callers, the clock and the device may do."""

    workers = 1
    all_cores_s: Mapping[int, float] | None = None
    device_slots = 0  # on the CPU

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.known = Known()
        self.gate = Gate()
        self.registry = CollectorRegistry()
        self.stopped = False
        self.device = DeviceThread() if self.device_slots else None
        self.batcher = self.loop.run_until_complete(self.make_batcher())

    async def make_batcher(self) -> Batcher:
        meter = Meter(Telemetry(self.registry), "toy", "generator")
        return Batcher(
            self.gate.runners(self.workers, self.all_cores_s, DEVICE_COSTS if self.device else None),
            TOY.generator.inputs,
            BUCKETS,
            replace(LIMITS, device_slots=self.device_slots or 1),
            meter,
            EngineLoad(),
            device=self.device,
        )

    @rule(first=first_samples, count=counts)
    def ask(self, first: int, count: int) -> None:
        self.loop.run_until_complete(self.asked(first, count, None))

    @rule(first=first_samples, count=counts)
    def ask_and_be_late(self, first: int, count: int) -> None:
        self.loop.run_until_complete(self.asked(first, count, SOON_S))

    @precondition(lambda self: self.known.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known.waiting)))
        self.loop.run_until_complete(self.cancelled(self.known.waiting.pop(name)))

    @precondition(lambda self: self.known.running)
    @rule(data=st.data())
    def finish_a_run(self, data: st.DataObject) -> None:
        self.finish(self.end_of_run(data))

    @precondition(lambda self: self.known.running)
    @rule(data=st.data())
    def fail_a_run(self, data: st.DataObject) -> None:
        run = self.end_of_run(data)
        self.gate.let_fail(run)
        self.loop.run_until_complete(self.run_failed(run))

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self.stopped = True
        self.batcher.stop()
        self.loop.run_until_complete(self.all_fail_with(NotReady))

    @invariant()
    def the_queue_holds_what_it_should(self) -> None:
        gauge = self.registry.get_sample_value("ganymede_queue_samples", {"model": "toy", "graph": "generator"})
        assert gauge == self.known.queued <= LIMITS.queue_samples

    @invariant()
    def no_request_is_answered_early(self) -> None:
        assert not any(asked.task.done() for asked in self.known.waiting.values())

    def teardown(self) -> None:
        """Requests that are left are answered as soon as runs may end."""
        try:
            while self.known.running and not self.stopped:
                self.finish(self.known.running.pop())
            assert self.known.waiting == {}
            self.batcher.stop()
            for run in self.known.running:
                self.gate.let_pass(run)
            if self.known.prepared:
                self.gate.let_pass()
            self.loop.run_until_complete(asyncio.wait_for(self.batcher.stopped(), PATIENCE_S))
        finally:
            if self.device:
                self.device.stop()
            self.loop.close()

    def end_of_run(self, data: st.DataObject) -> Run:
        return self.known.running.pop(data.draw(st.integers(0, len(self.known.running) - 1)))

    def finish(self, run: Run) -> None:
        self.gate.let_pass(run)
        self.loop.run_until_complete(self.run_finished(run))

    async def asked(self, first: int, count: int, timeout_s: float | None) -> None:
        known = self.known
        name, task = await self.put_in(first, count, timeout_s)
        if self.stopped:
            await fails_with(NotReady, task)
        elif known.queued + min(count, LIMITS.request_queue_samples) > LIMITS.queue_samples:
            late = () if timeout_s is None else (DeadlinePassed,)  # on a slow day it is late before it is refused
            await fails_with((QueueFull, *late), task)
        elif timeout_s is None:
            known.waiting[name] = Asked(first, count, task)
            self.expect_runs()
        else:
            await fails_with((DeadlinePassed, QueueFull), task)  # at once, where runs are known to take longer
            await self.answer_others(name)

    async def put_in(self, first: int, count: int, timeout_s: float | None) -> tuple[str, asyncio.Task[Outputs]]:
        self.known.asked += 1
        name = f"request {self.known.asked}"
        rows = self.gate.rows(name, toy_latents(first, count))
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        task = asyncio.create_task(self.batcher.ask(rows, count, ["sample", "pixels"], deadline))
        await asyncio.sleep(0)  # a turn of the event loop for the task,
        await asyncio.sleep(0)  # and one for a worker to be woken
        return name, task

    async def answer_others(self, late: str) -> None:
        """Idle workers may have begun with a late request or never seen it; either way the next are answered."""
        others: list[tuple[Run, asyncio.Task[Outputs]]] = []
        while len(self.known.running) + len(others) < self.workers:
            name, task = await self.put_in(0, 1, None)
            run = self.gate.next_run()
            while run.slices[0][0] == late:
                self.gate.let_pass(run)
                run = self.gate.next_run()
            assert run.slices == ((name, 0, 1),)
            others.append((run, task))
        for run, task in others:
            self.gate.let_pass(run)
            assert same(await asyncio.wait_for(task, PATIENCE_S), Asked(0, 1, task))

    async def cancelled(self, asked: Asked) -> None:
        asked.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked.task

    async def run_finished(self, run: Run) -> None:
        for name, start, stop in run.slices:
            asked = self.known.waiting.get(name)
            if asked is None:
                continue
            asked.done.update(range(start, stop))
            if len(asked.done) == asked.count:
                assert same(await asyncio.wait_for(asked.task, PATIENCE_S), asked)
                del self.known.waiting[name]
        self.expect_runs()

    async def run_failed(self, run: Run) -> None:
        for name, _, _ in run.slices:
            asked = self.known.waiting.pop(name, None)
            if asked is not None:
                await fails_with(SessionFailed, asked.task)
        self.expect_runs()

    async def all_fail_with(self, error: type[GanymedeError]) -> None:
        for asked in self.known.waiting.values():
            await fails_with(error, asked.task)
        self.known.waiting.clear()

    def expect_runs(self) -> None:
        """Where samples wait and a worker is free, it begins at once; note what with."""
        known = self.known
        if known.prepared and not known.running:
            assert set(self.next_run().slices) == known.prepared
            known.prepared = set()
        while known.queued and len(known.running) < self.workers:
            self.note_begun(self.next_run().slices)
        if self.device_slots > 1 and known.running and not known.prepared:
            self.expect_preparation()

    def next_run(self) -> Run:
        run = self.gate.next_run()
        assert run.size in BUCKETS
        assert 0 < sum(stop - start for _, start, stop in run.slices) <= run.size
        assert not (run.all_cores and self.known.running)
        self.known.running.append(run)
        return run

    def note_begun(self, slices: Iterable[tuple[str, int, int]]) -> None:
        for name, start, stop in slices:
            asked = self.known.waiting[name]  # no request that has been answered is run
            assert asked.begun.isdisjoint(range(start, stop))
            asked.begun.update(range(start, stop))

    def expect_preparation(self) -> None:
        """Where what waits fills the largest size, it is prepared during the run in progress."""
        largest = BUCKETS[-1]
        if sum(asked.count - len(asked.begun) for asked in self.known.waiting.values()) < largest:
            return
        until = time.monotonic() + PATIENCE_S
        while sum(stop - start for _, start, stop in self.gate.prepared) < largest:
            assert time.monotonic() < until
            time.sleep(0)
        self.known.prepared = set(self.gate.prepared)
        self.note_begun(self.known.prepared)


class TwoWorkers(BatcherMachine):
    """Two workers, and all cores for who is alone."""

    workers = 2
    all_cores_s = ALL_CORES_S


class OnDevice(BatcherMachine):
    """One run at a time on a device, and nothing prepared during it."""

    device_slots = 1


class OnDeviceWithTwoSlots(BatcherMachine):
    """One run at a time on a device, during which the next batch is prepared."""

    device_slots = 2

    @precondition(lambda self: self.known.prepared or not self.known.running)
    @rule(first=first_samples, count=counts)
    def ask_and_be_late(self, first: int, count: int) -> None:
        """While a slot is free, a late request may be prepared before it is late; the machine would not know."""
        super().ask_and_be_late(first, count)


async def fails_with(error: type[GanymedeError] | tuple[type[GanymedeError], ...], task: asyncio.Task[Outputs]) -> None:
    with pytest.raises(error):
        await asyncio.wait_for(task, PATIENCE_S)


def same(answer: Outputs, asked: Asked) -> bool:
    """Whether an answer has the bytes that its samples have alone."""
    alone = ALONE[asked.first : asked.first + asked.count]
    return all(
        answer[name].tobytes() == np.concatenate([each[name] for each in alone]).tobytes()
        for name in ("sample", "pixels")
    )


BatcherMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TwoWorkers.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
OnDevice.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
OnDeviceWithTwoSlots.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOneWorker = BatcherMachine.TestCase
TestTwoWorkers = TwoWorkers.TestCase
TestOnDevice = OnDevice.TestCase
TestOnDeviceWithTwoSlots = OnDeviceWithTwoSlots.TestCase
