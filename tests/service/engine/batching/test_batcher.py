"""Requests share runs and nothing else: a real session on a real thread, its runs held and let go by the test."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine.batching.batcher import Batcher
from service.engine.batching.input_buffers import Rows
from service.engine.batching.load import EngineLoad
from service.engine.batching.stats import Meter
from service.engine.model_spec import Outputs
from service.engine.sampling.batched import PendingSample
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import DeadlinePassed, NotReady, QueueFull, SessionFailed
from service.metrics import Telemetry
from tests.support.gate import PATIENCE_S, TOY, Gate, Run, toy_latents, toy_session

LIMITS = BatchLimits(max_batch_samples=4, queue_samples=64, request_queue_samples=16)
BUCKETS = (1, 2, 4)
OUTPUTS = ("sample", "pixels")


class Bench:
    """A batcher over a gate, and requests by name."""

    def __init__(
        self,
        limits: BatchLimits = LIMITS,
        buckets: tuple[int, ...] = BUCKETS,
        workers: int = 1,
        all_cores_s: Mapping[int, float] | None = None,
        single_thread_s: Mapping[int, float] | None = None,
    ) -> None:
        self.gate = Gate()
        self.registry = CollectorRegistry()
        self.load = EngineLoad()
        meter = Meter(Telemetry(self.registry), "toy", "generator")
        runners = self.gate.runners(workers, all_cores_s, single_thread_s)
        self.batcher = Batcher(runners, TOY.generator.inputs, buckets, limits, meter, self.load)

    async def ask(
        self, name: str, first: int, count: int, outputs: tuple[str, ...] = OUTPUTS, timeout_s: float | None = None
    ) -> asyncio.Task[Outputs]:
        """Ask for toy samples `first` … `first + count` − 1, and come back when the request is in the queue."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        rows = self.gate.rows(name, toy_latents(first, count))
        task = asyncio.create_task(self.batcher.ask(rows, count, outputs, deadline))
        await asyncio.sleep(0)  # a turn of the event loop for the task,
        await asyncio.sleep(0)  # and one for a worker to be woken
        return task

    async def hold_the_thread(self) -> asyncio.Task[Outputs]:
        """Let the model thread begin a run of one sample, so that what follows is queued."""
        task = await self.ask("holder", 0, 1)
        self.gate.next_run()
        return task

    async def finish(self) -> None:
        self.batcher.stop()
        self.gate.let_all_pass()
        await asyncio.wait_for(self.batcher.stopped(), PATIENCE_S)

    def metric(self, name: str) -> float:
        value = self.registry.get_sample_value(f"ganymede_{name}", {"model": "toy", "graph": "generator"})
        assert value is not None
        return value


def on_a_bench(
    scenario: Callable[[Bench], Awaitable[None]],
    limits: BatchLimits = LIMITS,
    buckets: tuple[int, ...] = BUCKETS,
    workers: int = 1,
    all_cores_s: Mapping[int, float] | None = None,
    single_thread_s: Mapping[int, float] | None = None,
) -> None:
    async def run() -> None:
        bench = Bench(limits, buckets, workers, all_cores_s, single_thread_s)
        try:
            await asyncio.wait_for(scenario(bench), 3 * PATIENCE_S)
        finally:
            await bench.finish()

    asyncio.run(run())


def model_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("toy-generator-")]


async def eventually(happened: Callable[[], bool]) -> None:
    """Give the event loop turns until something has happened on another thread."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110  (no other thread sets an event for a test)
            await asyncio.sleep(0)


def same(answer: Outputs, first: int, count: int) -> bool:
    """Whether an answer has the bytes of the same samples computed one by one by another session."""
    session = toy_session()
    alone = [session.compute({"latent": toy_latents(i, 1)}, ["sample", "pixels"]) for i in range(first, first + count)]
    return all(
        answer[name].tobytes() == np.concatenate([each[name] for each in alone]).tobytes()
        for name in ("sample", "pixels")
    )


def test_requests_of_one_turn_of_the_event_loop_share_a_run_though_the_worker_was_idle() -> None:
    async def scenario(bench: Bench) -> None:
        asks = [
            asyncio.ensure_future(bench.batcher.ask(bench.gate.rows(name, toy_latents(first, 2)), 2, OUTPUTS))
            for first, name in enumerate(("one", "other"))
        ]
        await asyncio.sleep(0)  # a turn of the event loop for the tasks,
        await asyncio.sleep(0)  # and one for a worker to be woken
        assert bench.gate.next_run().slices == (("one", 0, 2), ("other", 0, 2))
        bench.gate.let_pass()
        await asyncio.gather(*asks)

    on_a_bench(scenario)


def test_requests_that_wait_share_a_run_and_get_the_bytes_they_would_get_alone() -> None:
    async def scenario(bench: Bench) -> None:
        holder = await bench.hold_the_thread()
        first, second = await bench.ask("first", 1, 3), await bench.ask("second", 4, 1)
        bench.gate.let_pass()
        run = bench.gate.next_run()
        assert run.size == 4
        assert set(run.slices) == {("first", 0, 3), ("second", 0, 1)}
        bench.gate.let_pass()
        assert same(await holder, 0, 1)
        assert same(await first, 1, 3)
        assert same(await second, 4, 1)

    on_a_bench(scenario)


def test_a_request_larger_than_a_batch_is_split_and_put_together_again() -> None:
    async def scenario(bench: Bench) -> None:
        large = await bench.ask("large", 0, 11)
        sizes = []
        for _ in range(4):
            sizes.append(bench.gate.next_run().size)
            bench.gate.let_pass()
        assert sizes == [4, 4, 2, 1]
        assert same(await large, 0, 11)

    on_a_bench(scenario)


def test_padding_changes_no_byte_and_is_not_handed_out() -> None:
    async def scenario(bench: Bench) -> None:
        three = await bench.ask("three", 0, 3)
        assert bench.gate.next_run().size == 4
        bench.gate.let_pass()
        assert same(await three, 0, 3)
        assert bench.metric("batch_padding_samples_total") == 1
        assert bench.metric("samples_total") == 3

    on_a_bench(scenario, buckets=(4,))


def test_an_idle_model_starts_at_once_and_waits_for_no_more_requests() -> None:
    async def scenario(bench: Bench) -> None:
        one = await bench.ask("one", 0, 1)
        assert bench.gate.next_run() == Run((("one", 0, 1),), 1, ("sample", "pixels"))
        bench.gate.let_pass()
        await one

    on_a_bench(scenario)


def test_only_wanted_outputs_are_fetched() -> None:
    async def scenario(bench: Bench) -> None:
        asked = await bench.ask("pixels", 0, 1, outputs=("pixels",))
        assert bench.gate.next_run().outputs == ("pixels",)
        bench.gate.let_pass()
        assert list(await asked) == ["pixels"]

    on_a_bench(scenario)


def test_a_cancelled_request_leaves_the_queue_and_changes_no_other() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        gone, kept = await bench.ask("gone", 1, 2), await bench.ask("kept", 3, 2)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert bench.metric("queue_samples") == 2
        bench.gate.let_pass()
        assert bench.gate.next_run().slices == (("kept", 0, 2),)
        bench.gate.let_pass()
        assert same(await kept, 3, 2)

    on_a_bench(scenario)


def test_a_request_cancelled_while_it_runs_changes_no_bytes_of_others() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        gone, kept = await bench.ask("gone", 1, 2), await bench.ask("kept", 3, 2)
        bench.gate.let_pass()
        assert len(bench.gate.next_run().slices) == 2
        gone.cancel()
        bench.gate.let_pass()
        assert same(await kept, 3, 2)
        assert gone.cancelled()

    on_a_bench(scenario)


def test_a_deadline_does_not_wait_for_the_run_in_progress() -> None:
    async def scenario(bench: Bench) -> None:
        holder = await bench.hold_the_thread()
        late = await bench.ask("late", 1, 2, timeout_s=0.01)
        with pytest.raises(DeadlinePassed):
            await late
        assert not holder.done()
        assert bench.metric("queue_samples") == 0
        bench.gate.let_pass()
        assert same(await holder, 0, 1)

    on_a_bench(scenario)


def test_a_failed_run_fails_those_in_it_and_the_batcher_lives_on() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        unlucky, split = await bench.ask("unlucky", 1, 2), await bench.ask("split", 3, 5)
        later = await bench.ask("later", 8, 6)
        bench.gate.let_pass()
        assert bench.gate.next_run().slices == (("unlucky", 0, 2), ("split", 0, 2))
        bench.gate.let_fail()
        for task in (unlucky, split):
            with pytest.raises(SessionFailed):
                await task
        assert bench.gate.next_run().slices == (("later", 0, 4),)
        bench.gate.let_pass()
        assert bench.gate.next_run().slices == (("later", 4, 6),)
        bench.gate.let_pass()
        assert same(await later, 8, 6)

    on_a_bench(scenario)


def test_each_request_of_a_failed_run_gets_an_error_of_its_own() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        tasks = [await bench.ask("first", 1, 2), await bench.ask("second", 3, 2)]
        bench.gate.let_pass()
        bench.gate.next_run()
        bench.gate.let_fail()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, SessionFailed)
        assert isinstance(second, SessionFailed)
        assert first is not second
        assert "device" not in str(first)

    on_a_bench(scenario)


def test_a_request_whose_inputs_cannot_be_made_fails_alone() -> None:
    def broken(start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        raise ValueError(f"no rows {start} to {stop}")

    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        bad = asyncio.create_task(bench.batcher.ask(broken, 2, ["sample"]))
        good = await bench.ask("good", 3, 2)
        bench.gate.let_pass()
        assert bench.gate.next_run().slices == (("good", 0, 2),)
        bench.gate.let_pass()
        assert same(await good, 3, 2)
        with pytest.raises(SessionFailed):
            await bad

    on_a_bench(scenario)


def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.hold_the_thread()
        kept = await bench.ask("kept", 1, 4)
        with pytest.raises(QueueFull):
            await (await bench.ask("refused", 5, 2))
        bench.gate.let_pass()
        bench.gate.next_run()
        bench.gate.let_pass()
        assert same(await kept, 1, 4)

    on_a_bench(scenario, limits=BatchLimits(max_batch_samples=4, queue_samples=5, request_queue_samples=5))


def test_stopping_fails_requests_that_wait_and_refuses_new_ones() -> None:
    async def scenario(bench: Bench) -> None:
        running = await bench.hold_the_thread()
        waiting = await bench.ask("waiting", 1, 2)
        bench.batcher.stop()
        for task in (running, waiting, await bench.ask("new", 3, 1)):
            with pytest.raises(NotReady):
                await task
        bench.gate.let_pass()
        await bench.batcher.stopped()
        assert bench.metric("queue_samples") == 0

    on_a_bench(scenario)


def test_a_model_thread_ends_quietly_when_its_event_loop_is_gone() -> None:
    async def abandon() -> tuple[Gate, threading.Thread]:
        bench = Bench()
        task = await bench.hold_the_thread()
        task.cancel()
        (thread,) = model_threads()
        return bench.gate, thread

    gate, thread = asyncio.run(abandon())
    gate.let_pass()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_waiting_times_and_batch_sizes_are_counted() -> None:
    async def scenario(bench: Bench) -> None:
        holder = await bench.hold_the_thread()
        queued = await bench.ask("queued", 1, 6)
        assert bench.metric("queue_samples") == 6
        for _ in range(3):
            bench.gate.let_pass()
        await asyncio.gather(holder, queued)
        assert bench.metric("queue_samples") == 0
        assert bench.metric("queue_wait_seconds_count") == 2
        assert bench.metric("batch_samples_count") == 3
        assert bench.metric("batch_samples_sum") == 7
        assert bench.metric("batch_run_seconds_count") == 3
        assert bench.metric("samples_total") == 7
        assert bench.metric("batch_padding_samples_total") == 0

    on_a_bench(scenario)


def test_what_was_counted_stays_when_the_graph_has_been_unloaded() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.let_pass()
        await (await bench.ask("asked", 0, 3))
        bench.batcher.stop()
        await asyncio.wait_for(bench.batcher.stopped(), PATIENCE_S)
        assert bench.metric("samples_total") == 3
        assert bench.metric("queue_wait_seconds_count") == 1

    on_a_bench(scenario, buckets=(4,))


ALL_CORES_S = {1: 0.6, 2: 0.9, 4: 1.3}  # beside the gate's costs: what is alone is sooner done on all cores


def test_a_lone_request_is_split_between_the_free_workers() -> None:
    async def scenario(bench: Bench) -> None:
        lone = await bench.ask("lone", 0, 4)
        runs = [bench.gate.next_run(), bench.gate.next_run()]
        assert {run.slices for run in runs} == {(("lone", 0, 2),), (("lone", 2, 4),)}
        for run in sorted(runs, key=lambda run: run.slices, reverse=True):  # the last samples first
            bench.gate.let_pass(run)
        assert same(await lone, 0, 4)

    on_a_bench(scenario, workers=2)


def test_a_request_that_comes_while_one_worker_runs_is_taken_by_another() -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.ask("first", 0, 1)
        held = bench.gate.next_run()
        second = await bench.ask("second", 1, 1)
        bench.gate.let_pass(bench.gate.next_run())
        assert same(await second, 1, 1)
        assert not first.done()
        bench.gate.let_pass(held)
        assert same(await first, 0, 1)

    on_a_bench(scenario, workers=2)


def test_a_request_that_is_alone_runs_on_all_cores_and_one_that_comes_beside_it_on_one() -> None:
    async def scenario(bench: Bench) -> None:
        alone = await bench.ask("alone", 0, 2)
        all_cores = bench.gate.next_run()
        assert (all_cores.slices, all_cores.all_cores) == ((("alone", 0, 2),), True)
        beside = await bench.ask("beside", 2, 1)
        single_thread = bench.gate.next_run()
        assert not single_thread.all_cores
        bench.gate.let_pass(all_cores)
        assert same(await alone, 0, 2)
        bench.gate.let_pass(single_thread)
        assert same(await beside, 2, 1)

    on_a_bench(scenario, workers=2, all_cores_s=ALL_CORES_S)


def test_a_run_of_another_graph_keeps_a_lone_request_from_taking_all_cores() -> None:
    async def scenario(bench: Bench) -> None:
        bench.load.run_began()
        beside = await bench.ask("beside", 0, 1)
        assert not bench.gate.next_run().all_cores
        bench.gate.let_pass()
        await beside
        bench.load.run_ended()
        alone = await bench.ask("alone", 1, 1)
        assert bench.gate.next_run().all_cores
        bench.gate.let_pass()
        await alone

    on_a_bench(scenario, workers=2, all_cores_s=ALL_CORES_S)


def test_without_buckets_free_workers_run_requests_of_one_turn_apart() -> None:
    async def scenario(bench: Bench) -> None:
        asks = [
            asyncio.ensure_future(bench.batcher.ask(bench.gate.rows(name, toy_latents(first, 1)), 1, OUTPUTS))
            for first, name in enumerate(("one", "other"))
        ]
        await asyncio.sleep(0)  # a turn of the event loop for the tasks,
        await asyncio.sleep(0)  # and one for a worker to be woken
        runs = [bench.gate.next_run(), bench.gate.next_run()]
        assert {run.slices for run in runs} == {(("one", 0, 1),), (("other", 0, 1),)}
        bench.gate.let_all_pass()
        await asyncio.gather(*asks)

    on_a_bench(scenario, buckets=(), workers=2)


def test_a_slice_that_fails_fails_its_request_and_no_other_slice_matters() -> None:
    async def scenario(bench: Bench) -> None:
        unlucky = await bench.ask("unlucky", 0, 4)
        runs = [bench.gate.next_run(), bench.gate.next_run()]
        bench.gate.let_fail(runs[0])
        with pytest.raises(SessionFailed):
            await unlucky
        later = await bench.ask("later", 4, 1)
        bench.gate.let_pass(bench.gate.next_run())
        assert same(await later, 4, 1)
        bench.gate.let_pass(runs[1])

    on_a_bench(scenario, workers=2)


def test_the_graph_is_released_when_the_last_worker_has_ended() -> None:
    async def scenario(bench: Bench) -> None:
        asked = await bench.ask("asked", 0, 2)
        runs = [bench.gate.next_run(), bench.gate.next_run()]
        threads = model_threads()
        bench.batcher.stop()
        with pytest.raises(NotReady):
            await asked
        ended = asyncio.create_task(bench.batcher.stopped())
        bench.gate.let_pass(runs[0])
        await eventually(lambda: [thread.is_alive() for thread in threads].count(True) == 1)
        for _ in range(3):  # turns of the event loop: what the ended worker said, who waits for it, and its task
            await asyncio.sleep(0)
        assert not ended.done()
        bench.gate.let_pass(runs[1])
        await asyncio.wait_for(ended, PATIENCE_S)

    on_a_bench(scenario, workers=2)


def test_idle_workers_hold_nothing_of_what_they_ran() -> None:
    async def scenario(bench: Bench) -> None:
        sources = []

        def ask(first: int) -> Awaitable[Outputs]:
            rows = bench.gate.rows("caller", toy_latents(first, 1))
            sources.append(weakref.ref(rows))
            return bench.batcher.ask(rows, 1, OUTPUTS)

        answers = asyncio.gather(*(ask(first) for first in range(40)))
        while not answers.done():
            bench.gate.let_pass()
            await asyncio.sleep(0)  # a turn of the event loop for the callers
        del answers

        def let_go() -> bool:
            gc.collect()
            return all(source() is None for source in sources)

        await eventually(let_go)

    on_a_bench(scenario, workers=2)
