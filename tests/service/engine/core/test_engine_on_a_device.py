"""The engine on a card: one thread opens, verifies and runs every session, and the bytes are those of the CPU."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine.backends import cuda
from service.engine.config import CPU, CUDA, Device, Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob, Samples, ScoreJob
from service.engine.model_spec import LoadReport, PackageGraphs, PackageKey
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from tests.support.cuda import FakeCuda, fake_cuda, without_cuda
from tests.support.toy import toy_graphs

PACKAGE = toy_graphs()
LATER = toy_graphs("later")
FEW = BatchLimits(max_batch_samples=4)


def with_engine(
    scenario: Callable[[LocalEngine, LoadReport], Awaitable[None]],
    device: Device = "cuda",
    limits: BatchLimits = FEW,
    package: PackageGraphs = PACKAGE,
) -> None:
    async def run() -> None:
        engine = LocalEngine(Runtime(device=device, threads=1), limits, Telemetry(CollectorRegistry()))
        try:
            await asyncio.wait_for(scenario(engine, await engine.load(package)), 60)
        finally:
            await engine.drain(timeout_s=0)

    asyncio.run(run())


def card_of(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A card that works; the run that shows it, whose session is not kept, is not counted."""
    card = fake_cuda(monkeypatch)
    assert cuda.PROCESS.verdict.device is not None
    card.threads.clear()
    return card


def job(package: PackageKey = PACKAGE.key, first: int = 0, count: int = 1) -> GenerateJob:
    seeds = np.arange(first, first + count, dtype=np.uint64)
    return GenerateJob(package=package, seeds=seeds, want_sample=True, want_logits=True)


def device_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "device"}


def test_one_thread_opens_verifies_and_runs_all_sessions_of_all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    card = card_of(monkeypatch)
    monkeypatch.setattr("service.engine.batching.load.IDLE_S", 0.0)
    trimmed = threading.Event()
    monkeypatch.setattr("service.engine.core.engine.trim_heap", trimmed.set)

    async def scenario(engine: LocalEngine, report: LoadReport) -> None:
        assert report.generator.provider == CUDA
        loading = asyncio.create_task(engine.load(LATER))
        await asyncio.gather(*(engine.submit(job(first=first, count=3)) for first in range(40)))
        await loading
        trimmed.clear()
        pixels = np.zeros((2, 8, 8, 1), np.uint8)
        scores = [engine.submit(ScoreJob(package=LATER.key, pixels=pixels)) for _ in range(20)]
        await asyncio.gather(*scores, *(engine.submit(job(first=first, count=9)) for first in range(20)))
        assert await asyncio.to_thread(trimmed.wait, 20)
        assert card.threads < {thread.ident for thread in threading.enumerate()}

    with_engine(scenario)
    assert len(card.threads) == 1
    assert card.most_running == 1


def test_while_a_package_is_loaded_the_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    card = card_of(monkeypatch)

    async def scenario(engine: LocalEngine, _: LoadReport) -> None:
        before = card.runs
        loading = asyncio.create_task(engine.load(LATER))
        while card.runs == before:  # noqa: ASYNC110  (no other thread sets an event for a test)
            await asyncio.sleep(0)
        for seed in range(5):
            await engine.submit(job(first=seed))
        assert not loading.done()
        await loading

    with_engine(scenario)


@pytest.mark.parametrize("slots", [1, 2])
def test_the_bytes_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    answers: dict[Device, list[Samples]] = {}
    limits = BatchLimits(max_batch_samples=8, device_slots=slots)

    async def on_the_cpu(engine: LocalEngine, _: LoadReport) -> None:
        answers["cpu"] = [await engine.submit(job(first=first, count=1 + first % 11)) for first in range(60)]

    async def on_the_card(engine: LocalEngine, _: LoadReport) -> None:
        jobs = (engine.submit(job(first=first, count=1 + first % 11)) for first in range(60))
        answers["cuda"] = await asyncio.gather(*jobs)

    with_engine(on_the_cpu, "cpu", limits)
    card_of(monkeypatch)
    with_engine(on_the_card, "cuda", limits)
    for ours, theirs in zip(answers["cuda"], answers["cpu"], strict=True):
        for mine, other in ((ours.sample, theirs.sample), (ours.pixels, theirs.pixels), (ours.logits, theirs.logits)):
            assert mine is not None
            assert other is not None
            assert mine.tobytes() == other.tobytes()


def test_the_largest_batch_is_the_devices_where_none_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    largest: dict[str, int] = {}

    async def note(_: LocalEngine, report: LoadReport) -> None:
        largest[report.generator.provider] = report.generator.buckets[-1]

    with_engine(note, "cpu", BatchLimits())
    card_of(monkeypatch)
    with_engine(note, "cuda", BatchLimits())
    assert largest == {CPU: 64, CUDA: 256}


@without_cuda
def test_the_devices_thread_ends_with_the_engine_and_on_the_cpu_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = device_threads()

    async def on_the_cpu(engine: LocalEngine, _: LoadReport) -> None:
        await engine.submit(job())
        assert device_threads() <= before

    async def on_the_card(engine: LocalEngine, _: LoadReport) -> None:
        await engine.submit(job())
        assert len(device_threads() - before) == 1

    with_engine(on_the_cpu, "cpu")
    with_engine(on_the_cpu, "auto")
    card_of(monkeypatch)
    with_engine(on_the_card)
    for thread in device_threads() - before:
        thread.join(20)
    assert device_threads() <= before
