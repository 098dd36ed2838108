"""On a device all runs come from one thread, and the next batch is prepared while one runs."""

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from service.engine.backends.base import InstanceGroup
from service.engine.batching.batcher import Batcher
from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.input_buffers import Rows
from service.engine.batching.load import EngineLoad
from service.engine.batching.queue import RequestQueue, WakeUp
from service.engine.batching.request import Request, RowSource
from service.engine.batching.stats import Meter
from service.engine.model_spec import Outputs
from service.engine.sampling.batched import PendingSample
from service.engine.scheduling.batch_size import BatchSizer
from service.engine.scheduling.scheduler import BatchLimits, Scheduler
from service.engine.statistics import NO_TIME
from service.errors import DeadlinePassed, NotReady, QueueFull, SessionFailed
from service.metrics import Telemetry
from tests.support.device import FakeClock, FakeDevice, HeldClock, SharedClock
from tests.support.gate import PATIENCE_S, TOY, toy_latents, toy_session

# Runs end when the test says so, however long that is.
LIMITS = BatchLimits(max_batch_samples=4, queue_samples=256, request_queue_samples=64, queue_wait_s=math.inf)
BUCKETS = (1, 2, 4)
OUTPUTS = ("sample", "pixels")
RUN_S = 1.0
COSTS = dict.fromkeys(BUCKETS, RUN_S)
BATCHES = 12


class Bench:
    """A batcher on a device: a fake one, or one whose runs the test lets pass."""

    def __init__(self, instances: InstanceGroup, slots: int = 2, buckets: Sequence[int] = BUCKETS) -> None:
        self.device = DeviceThread()
        meter = Meter(Telemetry(CollectorRegistry()), "toy", "generator")
        limits = replace(LIMITS, device_slots=slots)
        self.batcher = Batcher(
            instances, TOY.generator.inputs, buckets, limits, meter, EngineLoad(), device=self.device
        )

    async def finish(self) -> None:
        self.batcher.stop()
        await asyncio.wait_for(self.batcher.stopped(), PATIENCE_S)
        self.device.stop()


def alone(first: int, count: int) -> bytes:
    """The samples that each latent has alone."""
    session = toy_session()
    return b"".join(
        session.compute({"latent": toy_latents(each, 1)}, ["sample"])["sample"].tobytes()
        for each in range(first, first + count)
    )


def rows_of(first: int, count: int, prepared: Callable[[], None] = lambda: None) -> RowSource:
    latents = toy_latents(first, count)

    def source(start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        prepared()
        rows["latent"][:] = latents[start:stop]
        return ()

    return source


def full_batches(slots: int, inputs_s: float) -> tuple[FakeDevice, list[str]]:
    """Have full batches computed; returns the device, and the order in which requests were prepared and answered."""
    clock = SharedClock(threads=2)
    device = FakeDevice(run_s=COSTS, clock=clock)
    notes: list[str] = []

    def prepare(number: int) -> None:
        notes.append(f"prepare {number}")
        clock.advance(inputs_s)

    def answered(number: int, _: asyncio.Task[Outputs]) -> None:
        notes.append(f"answer {number}")

    async def scenario() -> None:
        bench = Bench(device.instances(TOY.generator, BUCKETS), slots)
        tasks = []
        for number in range(BATCHES):
            source = rows_of(4 * number, 4, partial(prepare, number))
            tasks.append(asyncio.create_task(bench.batcher.ask(source, 4, OUTPUTS)))
            tasks[-1].add_done_callback(partial(answered, number))
        for number, task in enumerate(tasks):
            answer = await asyncio.wait_for(task, PATIENCE_S)
            assert answer["sample"].tobytes() == alone(4 * number, 4)
        await bench.finish()

    asyncio.run(scenario())
    return device, notes


def busy_share(device: FakeDevice) -> float:
    """Of the time from the first run's begin to the last one's end, the share in which the device ran."""
    return sum(end - begin for begin, end in device.times) / (device.times[-1][1] - device.times[0][0])


def test_with_two_slots_the_device_runs_while_the_next_batch_is_prepared() -> None:
    device, notes = full_batches(slots=2, inputs_s=RUN_S)
    assert busy_share(device) >= 0.9
    assert [note for note in notes if "answer" in note] == [f"answer {number}" for number in range(BATCHES)]
    assert [note for note in notes if "prepare" in note] == [f"prepare {number}" for number in range(BATCHES)]
    assert notes.index("prepare 1") < notes.index("answer 0")


def test_with_one_slot_the_device_idles_while_the_next_batch_is_prepared() -> None:
    device, _ = full_batches(slots=1, inputs_s=RUN_S)
    assert 0.45 < busy_share(device) < 0.6


def test_all_runs_come_from_one_thread_and_never_two_at_a_time() -> None:
    device, _ = full_batches(slots=2, inputs_s=RUN_S / 4)
    assert len(device.threads) == 1
    assert threading.get_ident() not in device.threads
    assert device.most_running == 1
    assert device.runs == {4: BATCHES}


class Held:
    """A bench whose runs the test lets end, and what was prepared so far."""

    def __init__(self, slots: int = 2, buckets: Sequence[int] = BUCKETS) -> None:
        self.clock = HeldClock()
        self.device = FakeDevice(run_s=COSTS, clock=self.clock)
        self.prepared: list[str] = []
        self._bench = Bench(self.device.instances(TOY.generator, buckets), slots, buckets)
        self.batcher, self.thread = self._bench.batcher, self._bench.device

    async def ask(self, name: str, first: int, count: int, timeout_s: float | None = None) -> asyncio.Task[Outputs]:
        """Ask, and come back when a worker has been woken."""
        source = rows_of(first, count, lambda: self.prepared.append(name))
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        task = asyncio.create_task(self.batcher.ask(source, count, OUTPUTS, deadline))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    async def hold_the_device(self) -> asyncio.Task[Outputs]:
        task = await self.ask("holder", 0, 1)
        self.clock.wait_for_a_run()
        return task

    async def is_prepared(self, name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while name not in self.prepared:  # noqa: ASYNC110  (no other thread sets an event for a test)
                await asyncio.sleep(0)

    async def finish(self) -> None:
        self.clock.let_pass(BATCHES)
        await self._bench.finish()


def while_held(scenario: Callable[[Held], Awaitable[None]], slots: int = 2, buckets: Sequence[int] = BUCKETS) -> None:
    async def run() -> None:
        held = Held(slots, buckets)
        try:
            await asyncio.wait_for(scenario(held), 3 * PATIENCE_S)
        finally:
            await held.finish()

    asyncio.run(run())


def test_what_fills_a_run_is_prepared_during_another_also_where_it_comes_later() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        first, second = await held.ask("first", 1, 2), await held.ask("second", 3, 2)
        await held.is_prepared("second")
        assert not holder.done()
        held.clock.let_pass(2)
        assert (await first)["sample"].tobytes() == alone(1, 2)
        assert (await second)["sample"].tobytes() == alone(3, 2)
        assert held.device.runs == {1: 1, 4: 1}

    while_held(scenario)


def test_with_one_slot_nothing_is_prepared_during_a_run() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        full = await held.ask("full", 1, 4)
        await asyncio.sleep(0.05)
        assert held.prepared == ["holder"]
        held.clock.let_pass(2)
        await asyncio.gather(holder, full)

    while_held(scenario, slots=1)


def test_what_does_not_fill_a_run_waits_for_more_while_another_runs() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        one, other = await held.ask("one", 1, 1), await held.ask("other", 2, 1)
        await asyncio.sleep(0.05)
        assert held.prepared == ["holder"]
        last = await held.ask("last", 3, 1)
        held.clock.let_pass(2)
        await asyncio.gather(holder, one, other, last)
        assert held.device.runs == {1: 1, 4: 1}  # three samples in one run, whose fourth row is padding

    while_held(scenario)


def test_a_large_request_is_run_from_both_slots_and_put_together_again() -> None:
    async def scenario(held: Held) -> None:
        held.clock.let_pass(BATCHES)
        large = await held.ask("large", 0, 11)
        assert (await large)["sample"].tobytes() == alone(0, 11)
        assert held.device.runs == {4: 3}

    while_held(scenario)


def test_without_sizes_each_request_is_prepared_during_another_and_runs_alone() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        three = await held.ask("three", 1, 3)
        await held.is_prepared("three")
        assert not holder.done()
        held.clock.let_pass(2)
        assert (await three)["sample"].tobytes() == alone(1, 3)
        assert held.device.runs == {1: 1, 3: 1}

    while_held(scenario, buckets=())


def test_a_failed_run_fails_those_in_it_and_not_those_prepared_behind_it() -> None:
    async def scenario(held: Held) -> None:
        held.device.failure, held.device.fails_after = "no_plan", 1
        holder = await held.hold_the_device()
        unlucky, later = await held.ask("unlucky", 1, 4), await held.ask("later", 5, 4)
        held.clock.let_pass(3)
        assert (await holder)["sample"].tobytes() == alone(0, 1)
        with pytest.raises(SessionFailed):
            await unlucky
        assert (await later)["sample"].tobytes() == alone(5, 4)

    while_held(scenario)


def test_a_request_that_is_cancelled_when_it_is_prepared_changes_no_other() -> None:
    async def scenario(held: Held) -> None:
        await held.hold_the_device()
        gone, kept = await held.ask("gone", 1, 2), await held.ask("kept", 3, 2)
        await held.is_prepared("kept")
        gone.cancel()
        held.clock.let_pass(2)
        assert (await kept)["sample"].tobytes() == alone(3, 2)
        assert gone.cancelled()

    while_held(scenario)


def test_a_request_whose_inputs_cannot_be_made_fails_alone_during_a_run() -> None:
    def broken(start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        raise ValueError(f"no rows {start} to {stop}")

    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        bad = asyncio.create_task(held.batcher.ask(broken, 4, OUTPUTS))
        good = await held.ask("good", 1, 4)
        held.clock.let_pass(2)
        with pytest.raises(SessionFailed):
            await bad
        assert (await good)["sample"].tobytes() == alone(1, 4)
        await holder

    while_held(scenario)


def test_stopping_fails_what_runs_and_what_is_prepared_and_the_graph_is_released_when_both_are_done() -> None:
    async def scenario(held: Held) -> None:
        running = await held.hold_the_device()
        prepared = await held.ask("prepared", 1, 4)
        await held.is_prepared("prepared")
        held.batcher.stop()
        for task in (running, prepared, await held.ask("new", 5, 1)):
            with pytest.raises(NotReady):
                await task
        stopped = asyncio.create_task(held.batcher.stopped())
        held.clock.let_pass()
        held.clock.wait_for_a_run()
        assert not stopped.done()
        held.clock.let_pass()
        await asyncio.wait_for(stopped, PATIENCE_S)

    while_held(scenario)


def test_what_comes_when_the_device_has_been_stopped_fails() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        held.thread.stop()
        behind = await held.ask("behind", 1, 4)
        held.clock.let_pass()
        assert (await holder)["sample"].tobytes() == alone(0, 1)
        with pytest.raises(SessionFailed):
            await behind

    while_held(scenario)


def test_what_would_be_late_behind_the_run_in_progress_is_not_prepared() -> None:
    async def scenario(held: Held) -> None:
        holder = await held.hold_the_device()
        late = await held.ask("late", 1, 4, timeout_s=1.5 * RUN_S)  # a run of 1 s behind one of 1 s
        with pytest.raises((DeadlinePassed, QueueFull)):
            await late
        assert held.prepared == ["holder"]
        held.clock.let_pass()
        await holder

    while_held(scenario)


def test_the_threads_of_a_device_hold_nothing_of_what_they_ran() -> None:
    async def scenario(held: Held) -> None:
        held.clock.let_pass(BATCHES)
        tasks = [await held.ask(f"request {number}", 4 * number, 4) for number in range(4)]
        answers = [weakref.ref(answer["sample"]) for answer in await asyncio.gather(*tasks)]
        tasks.clear()
        async with asyncio.timeout(PATIENCE_S):
            while any(answer() is not None for answer in answers):
                gc.collect()
                await asyncio.sleep(0)

    while_held(scenario)


def test_a_run_that_was_prepared_ahead_is_counted_from_the_end_of_the_run_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("service.engine.batching.queue.time.monotonic", clock)

    async def scenario() -> None:
        sizes = BatchSizer(BUCKETS, COSTS, on_device=True)
        queue = RequestQueue(
            Scheduler(LIMITS, sizes), 1, Meter(Telemetry(CollectorRegistry()), "toy", "generator"), EngineLoad()
        )
        loop, wake_up = asyncio.get_running_loop(), WakeUp()
        for _ in range(3):
            queue.admit(Request(rows_of(0, 4), 4, OUTPUTS, None, loop.create_future(), clock()))
        running = queue.take(wake_up)
        for _ in range(2):
            assert running is not None
            ahead = queue.take_ahead(wake_up, lambda: False, running, has_slot=True)
            clock.advance(RUN_S)
            queue.done(running, running.pieces, [], NO_TIME)
            running = ahead
        assert queue.expected_s(4) == pytest.approx(RUN_S, rel=1e-2)  # not the 2 s from taking the batch to its end

    asyncio.run(scenario())
