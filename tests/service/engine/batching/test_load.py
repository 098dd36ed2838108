"""Memory is trimmed once after a load spike, when all jobs have ended, and never before."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from service.engine.batching import load
from service.engine.batching.load import SPIKE_JOBS, IdleTrimmer
from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from tests.service.engine.core.test_engine import KEY, PLAIN, everything
from tests.support.gate import PATIENCE_S

IDLE_S = 0.02


@pytest.fixture(autouse=True)
def _short_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "IDLE_S", IDLE_S)


class Jobs:
    """Jobs that begin and end, and the threads that trimmed memory."""

    def __init__(self) -> None:
        self.trimmed: list[int] = []
        self.trimmer = IdleTrimmer(self.trim)

    def trim(self) -> None:
        self.trimmed.append(threading.get_ident())

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.trimmer.job_began()

    def end(self, count: int) -> None:
        for _ in range(count):
            self.trimmer.job_ended()


def visit(scenario: Callable[[Jobs], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(scenario(Jobs()), PATIENCE_S)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a condition, not an event
        await asyncio.sleep(IDLE_S / 10)


def test_after_a_load_spike_memory_is_trimmed_once_on_another_thread() -> None:
    async def scenario(jobs: Jobs) -> None:
        jobs.begin(SPIKE_JOBS)
        jobs.end(SPIKE_JOBS)
        assert jobs.trimmed == []
        await until(lambda: bool(jobs.trimmed))
        await asyncio.sleep(3 * IDLE_S)
        assert len(jobs.trimmed) == 1
        assert jobs.trimmed != [threading.get_ident()]

    visit(scenario)


def test_neither_fewer_jobs_at_a_time_nor_many_one_after_the_other_are_a_spike() -> None:
    async def scenario(jobs: Jobs) -> None:
        for _ in range(SPIKE_JOBS):
            jobs.begin(SPIKE_JOBS - 1)
            jobs.end(SPIKE_JOBS - 1)
        await asyncio.sleep(3 * IDLE_S)
        assert jobs.trimmed == []

    visit(scenario)


def test_trimming_is_put_off_while_a_job_is_in_progress() -> None:
    async def scenario(jobs: Jobs) -> None:
        jobs.begin(SPIKE_JOBS)
        jobs.end(SPIKE_JOBS)
        jobs.begin(1)  # within the idle time
        await asyncio.sleep(3 * IDLE_S)
        assert jobs.trimmed == []
        jobs.end(1)
        await until(lambda: bool(jobs.trimmed))

    visit(scenario)


def test_each_spike_is_trimmed_after_and_a_lone_job_is_not() -> None:
    async def scenario(jobs: Jobs) -> None:
        for count in (1, 2):
            jobs.begin(SPIKE_JOBS)
            jobs.end(SPIKE_JOBS)
            await until(partial(lambda wanted: len(jobs.trimmed) == wanted, count))
        jobs.begin(1)
        jobs.end(1)
        await asyncio.sleep(3 * IDLE_S)
        assert len(jobs.trimmed) == 2

    visit(scenario)


def test_what_goes_wrong_is_logged_and_the_next_time_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def scenario(jobs: Jobs) -> None:
        jobs.trimmer = IdleTrimmer(fail)
        for _ in range(2):
            jobs.begin(SPIKE_JOBS)
            jobs.end(SPIKE_JOBS)
            await until(lambda: "could not clear up behind a crowd" in caplog.text)
            assert "ZeroDivisionError" in caplog.text
            caplog.clear()

    visit(scenario)


def test_nothing_is_trimmed_after_a_stop() -> None:
    async def scenario(jobs: Jobs) -> None:
        jobs.begin(SPIKE_JOBS)
        jobs.end(SPIKE_JOBS)
        jobs.trimmer.stop()
        jobs.begin(SPIKE_JOBS)
        jobs.end(SPIKE_JOBS)
        await asyncio.sleep(3 * IDLE_S)
        assert jobs.trimmed == []

    visit(scenario)


class _Knot:
    """An object that only the cycle collector frees."""

    def __init__(self, freed: list[None]) -> None:
        self.itself = self
        self.freed = freed

    def __del__(self) -> None:
        self.freed.append(None)


def test_an_engine_frees_what_a_spike_left_and_answers_as_before() -> None:
    settled: list[str] = []

    async def scenario() -> None:
        engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(8, 640, 16), Telemetry(CollectorRegistry()))
        await engine.load(PLAIN)
        (loaded,) = engine._packages.values()
        assert len(loaded.memory_releases) == 2  # the generator's and the discriminator's
        loaded.memory_releases = [*loaded.memory_releases, lambda: settled.append("behind all others")]
        freed: list[None] = []
        _Knot(freed)

        async def spike() -> list[bytes]:
            jobs: list[GenerateJob] = [everything(seed, 1) for seed in range(2 * SPIKE_JOBS)]
            answers = await asyncio.gather(*(engine.submit(job) for job in jobs))
            return [answer.sample.tobytes() for answer in answers if answer.sample is not None]

        before = await spike()
        assert len(before) == 2 * SPIKE_JOBS
        await until(lambda: bool(settled and freed))
        assert await spike() == before
        await engine.unload(KEY)
        await engine.drain(timeout_s=0)

    gc.disable()
    try:
        asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    finally:
        gc.enable()
