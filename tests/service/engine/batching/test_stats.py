"""What a batcher counts of its own graph: exact, once a request and once a run, whatever becomes of either."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from service.engine.batching.batcher import Batcher
from service.engine.batching.load import EngineLoad
from service.engine.batching.stats import Meter
from service.engine.scheduling.scheduler import BatchLimits
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, QueueFull, SessionFailed
from service.metrics import Telemetry
from tests.support.gate import PATIENCE_S, TOY, Gate, toy_latents

LIMITS = BatchLimits(max_batch_samples=4, queue_samples=16, request_queue_samples=16)
BUCKETS = (2, 4)


class Bench:
    """A batcher over a gate, and its meter."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.meter = Meter(Telemetry(CollectorRegistry()), "toy", "generator")
        self.batcher = Batcher(self.gate.runners(), TOY.generator.inputs, BUCKETS, LIMITS, self.meter, EngineLoad())

    @property
    def counted(self) -> GraphStatistics:
        return self.meter.statistics

    async def ask(self, count: int, timeout_s: float | None = None) -> asyncio.Task[object]:
        """Ask for some samples, and come back when the request is in the queue."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        rows = self.gate.rows("request", toy_latents(0, count))
        task: asyncio.Task[object] = asyncio.ensure_future(self.batcher.ask(rows, count, ["sample"], deadline))
        await asyncio.sleep(0)  # a turn of the event loop for the task,
        await asyncio.sleep(0)  # and one for a worker to be woken
        return task


def on_a_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(scenario(bench), PATIENCE_S)
        finally:
            bench.batcher.stop()
            bench.gate.let_pass()
            await asyncio.wait_for(bench.batcher.stopped(), PATIENCE_S)

    asyncio.run(run())


def test_a_graph_without_requests_has_counted_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        assert bench.counted == GraphStatistics()

    on_a_bench(scenario)


def test_requests_that_share_a_run_are_counted_each_and_the_run_once() -> None:
    async def scenario(bench: Bench) -> None:
        holder = await bench.ask(1)
        bench.gate.next_run()
        first, second = await bench.ask(1), await bench.ask(3)
        for _ in range(2):
            bench.gate.let_pass()
        await asyncio.gather(holder, first, second)
        counted = bench.counted
        assert (counted.samples, counted.runs, counted.answered.count) == (5, 2, 3)
        assert {size: stages.run.count for size, stages in counted.batches.items()} == {2: 1, 4: 1}
        assert counted.queued.count == counted.stages.run.count == 3
        # Both callers of the shared run lived through all of it.
        shared, alone = (counted.batches[size].run.ns for size in (4, 2))
        assert counted.stages.run.ns == pytest.approx(alone + 2 * shared, abs=2)

    on_a_bench(scenario)


def test_a_request_of_several_runs_is_counted_once_and_lived_through_all_of_them() -> None:
    async def scenario(bench: Bench) -> None:
        task = await bench.ask(10)
        for _ in range(3):
            bench.gate.let_pass()
        await task
        counted = bench.counted
        assert (counted.samples, counted.runs, counted.answered.count) == (10, 3, 1)
        assert counted.stages.run.count == 1
        assert counted.stages.run.ns == pytest.approx(sum(b.run.ns for b in counted.batches.values()), abs=3)

    on_a_bench(scenario)


def test_the_stages_of_a_request_fit_into_its_whole() -> None:
    async def scenario(bench: Bench) -> None:
        before = time.time()
        task = await bench.ask(2)
        bench.gate.next_run()
        bench.gate.let_pass()
        await task
        counted = bench.counted
        stages = counted.stages
        parts = [counted.queued, stages.inputs, stages.run, stages.outputs]
        assert 0 < sum(part.ns for part in parts) <= counted.answered.ns
        assert counted.last_answer is not None
        assert before <= counted.last_answer <= time.time()

    on_a_bench(scenario)


def test_a_request_that_ends_without_an_answer_is_counted_as_failed_however_it_ended() -> None:
    async def scenario(bench: Bench) -> None:
        holder = await bench.ask(1)
        bench.gate.next_run()
        cancelled, late = await bench.ask(1), await bench.ask(1, timeout_s=0.01)
        with pytest.raises(DeadlinePassed):
            await late
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        filler, refused = await bench.ask(16), await bench.ask(1)
        with pytest.raises(QueueFull):
            await refused
        assert bench.counted.failed.count == 3
        bench.gate.let_fail()
        with pytest.raises(SessionFailed):
            await holder
        filler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await filler
        counted = bench.counted
        assert counted.failed.count == 5
        assert counted.failed.ns > 0
        assert counted.answered.count == counted.samples == counted.runs == 0

    on_a_bench(scenario)
