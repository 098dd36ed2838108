"""The engine of another process behaves as one of this process: same bytes, same refusals, one queue for all."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import EncodeJob, Engine, GenerateJob, InferJob, Samples, ScoreJob
from service.engine.model_spec import PackageKey
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import DeadlinePassed, GoldenMismatch, InvalidRequest, NotFound, NotReady, QueueFull
from service.metrics import Telemetry
from service.multiprocess.engine_client import RemoteEngine, engine_handlers
from tests.support.toy import toy_graphs
from tests.support.wires import wired

KEY = PackageKey("toy", 1)
TOY = toy_graphs(encoder=True)
LIMITS = BatchLimits(max_batch_samples=8, queue_samples=64, request_queue_samples=64)
AGES = 100_000  # samples that take seconds to compute


def with_engines(scenario: Callable[[Engine, LocalEngine], Awaitable[None]], limits: BatchLimits = LIMITS) -> None:
    """Run a scenario with a remote engine, and with the one that it asks."""

    async def run() -> None:
        local = LocalEngine(Runtime(device="cpu", threads=1), limits, Telemetry(CollectorRegistry()))
        try:
            async with wired(engine_handlers(local)) as (near, _), asyncio.timeout(60):
                await scenario(RemoteEngine(near), local)
        finally:
            await local.drain(timeout_s=0)

    asyncio.run(run())


def drawn(first: int, count: int, timeout_s: float | None = None) -> GenerateJob:
    seeds = np.arange(first, first + count, dtype=np.uint64)
    return GenerateJob(package=KEY, seeds=seeds, want_sample=True, want_logits=True, timeout_s=timeout_s)


def bytes_of(samples: Samples) -> list[bytes | None]:
    arrays: tuple[NDArray[np.generic] | None, ...] = (samples.pixels, samples.sample, samples.logits, samples.latents)
    return [None if array is None else array.tobytes() for array in arrays]


def test_every_door_of_the_engine_answers_the_same_bytes_from_afar() -> None:
    async def scenario(remote: Engine, local: LocalEngine) -> None:
        report = await remote.load(TOY)
        assert report.generator.buckets == (1, 2, 4, 8)
        made = await remote.submit(drawn(7, 5, timeout_s=20))
        assert bytes_of(made) == bytes_of(await local.submit(drawn(7, 5)))
        scored = await remote.submit(ScoreJob(package=KEY, pixels=made.pixels))
        assert made.logits is not None
        assert bytes_of(scored)[2] == made.logits.tobytes()
        encode = EncodeJob(package=KEY, pixels=made.pixels)
        assert bytes_of(await remote.submit(encode)) == bytes_of(await local.submit(encode))
        latent = {"latent": np.ones((2, 16), np.float32)}
        infer = InferJob(package=KEY, graph="generator", inputs=latent, outputs=("pixels", "sample"))
        near, far = await remote.infer(infer), await local.infer(infer)
        assert {name: array.tobytes() for name, array in near.items()} == {
            name: array.tobytes() for name, array in far.items()
        }
        assert await remote.statistics(KEY) == await local.statistics(KEY)
        await remote.unload(KEY)
        with pytest.raises(NotFound):
            await local.submit(drawn(0, 1))

    with_engines(scenario)


def test_refusals_are_the_far_engines_own_words() -> None:
    async def scenario(remote: Engine, local: LocalEngine) -> None:
        with pytest.raises(NotFound, match=r"^toy/1 is not loaded$"):
            await remote.submit(drawn(0, 1))
        await local.load(TOY)
        with pytest.raises(InvalidRequest) as caught:
            await remote.submit(drawn(0, 0))
        assert [problem.loc for problem in caught.value.problems] == [("seeds",)]
        with pytest.raises(DeadlinePassed):
            await remote.submit(drawn(0, AGES, timeout_s=0.05))

    with_engines(scenario)


def test_a_package_that_does_not_reproduce_is_refused_from_afar() -> None:
    async def scenario(remote: Engine, _: LocalEngine) -> None:
        toy = toy_graphs()
        toy.generator.golden["sample"] = toy.generator.golden["sample"] + 1
        with pytest.raises(GoldenMismatch):
            await remote.load(toy)

    with_engines(scenario)


def test_the_queue_is_one_for_callers_of_all_processes() -> None:
    async def run() -> None:
        local = LocalEngine(Runtime(device="cpu", threads=1), LIMITS, Telemetry(CollectorRegistry()))
        async with (
            wired(engine_handlers(local)) as (one, _),
            wired(engine_handlers(local)) as (other, _),
            asyncio.timeout(60),
        ):
            await local.load(TOY)
            jobs = [asyncio.create_task(RemoteEngine(one).submit(drawn(0, 64))) for _ in range(20)]
            jobs += [asyncio.create_task(RemoteEngine(other).submit(drawn(0, 64))) for _ in range(20)]
            answers = await asyncio.gather(*jobs, return_exceptions=True)
        await local.drain(timeout_s=0)
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]
        assert 0 < len(refused) < len(answers)
        whole = {tuple(bytes_of(answer)) for answer in answers if isinstance(answer, Samples)}
        assert len(whole) == 1

    asyncio.run(run())


def test_a_cancelled_job_leaves_the_far_queue_and_changes_no_other() -> None:
    async def scenario(remote: Engine, local: LocalEngine) -> None:
        await local.load(TOY)
        aging = asyncio.create_task(remote.submit(drawn(0, AGES)))
        other = await remote.submit(drawn(3, 2))
        aging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await aging
        while (await remote.statistics(KEY))["generator"].failed.count == 0:
            pass
        assert bytes_of(await remote.submit(drawn(3, 2))) == bytes_of(other)

    with_engines(scenario, BatchLimits(max_batch_samples=8, queue_samples=2 * AGES, request_queue_samples=2 * AGES))


def test_draining_finishes_the_jobs_asked_for_here_and_leaves_the_far_engine_to_others() -> None:
    async def scenario(remote: Engine, local: LocalEngine) -> None:
        await local.load(TOY)
        job = asyncio.create_task(remote.submit(drawn(0, 32)))
        await asyncio.sleep(0)  # a turn of the event loop for the job to begin
        draining = asyncio.create_task(remote.drain(timeout_s=20))
        await asyncio.sleep(0)
        with pytest.raises(NotReady):
            await remote.submit(drawn(0, 1))
        assert (await job).pixels is not None
        await draining
        assert (await local.submit(drawn(0, 1))).pixels is not None

    with_engines(scenario)
