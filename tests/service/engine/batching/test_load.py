"""Clearing up behind a crowd: once, when everybody has gone, and never before."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from service.engine.batching import load
from service.engine.batching.load import SPIKE_JOBS, IdleTrimmer
from service.engine.batching.scheduler import BatchLimits
from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob
from service.metrics import Telemetry
from tests.service.engine.core.test_engine import KEY, PLAIN, everything
from tests.support.gate import PATIENCE_S

IDLE_S = 0.02


@pytest.fixture(autouse=True)
def _short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "IDLE_S", IDLE_S)


class House:
    """Callers come and go; who cleared up, and how often, is noted."""

    def __init__(self) -> None:
        self.cleared: list[int] = []
        self.trimmer = IdleTrimmer(self.clear)

    def clear(self) -> None:
        self.cleared.append(threading.get_ident())

    def come(self, callers: int) -> None:
        for _ in range(callers):
            self.trimmer.job_began()

    def go(self, callers: int) -> None:
        for _ in range(callers):
            self.trimmer.job_ended()


def visit(scenario: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(scenario(House()), PATIENCE_S)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a condition, not an event
        await asyncio.sleep(IDLE_S / 10)


def test_behind_a_crowd_it_is_cleared_up_once_on_another_thread() -> None:
    async def scenario(house: House) -> None:
        house.come(SPIKE_JOBS)
        house.go(SPIKE_JOBS)
        assert house.cleared == []
        await until(lambda: bool(house.cleared))
        await asyncio.sleep(3 * IDLE_S)
        assert len(house.cleared) == 1
        assert house.cleared != [threading.get_ident()]

    visit(scenario)


def test_fewer_leave_nothing_nor_do_many_one_after_the_other() -> None:
    async def scenario(house: House) -> None:
        for _ in range(SPIKE_JOBS):
            house.come(SPIKE_JOBS - 1)
            house.go(SPIKE_JOBS - 1)
        await asyncio.sleep(3 * IDLE_S)
        assert house.cleared == []

    visit(scenario)


def test_as_long_as_somebody_is_there_it_is_put_off() -> None:
    async def scenario(house: House) -> None:
        house.come(SPIKE_JOBS)
        house.go(SPIKE_JOBS)
        house.come(1)  # within the moment
        await asyncio.sleep(3 * IDLE_S)
        assert house.cleared == []
        house.go(1)
        await until(lambda: bool(house.cleared))

    visit(scenario)


def test_the_next_crowd_is_cleared_up_behind_again_and_a_lone_caller_is_not() -> None:
    async def scenario(house: House) -> None:
        for count in (1, 2):
            house.come(SPIKE_JOBS)
            house.go(SPIKE_JOBS)
            await until(partial(lambda wanted: len(house.cleared) == wanted, count))
        house.come(1)
        house.go(1)
        await asyncio.sleep(3 * IDLE_S)
        assert len(house.cleared) == 2

    visit(scenario)


def test_what_goes_wrong_is_logged_and_the_next_time_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def scenario(house: House) -> None:
        house.trimmer = IdleTrimmer(fail)
        for _ in range(2):
            house.come(SPIKE_JOBS)
            house.go(SPIKE_JOBS)
            await until(lambda: "could not clear up behind a crowd" in caplog.text)
            assert "ZeroDivisionError" in caplog.text
            caplog.clear()

    visit(scenario)


def test_nothing_is_cleared_up_after_the_end() -> None:
    async def scenario(house: House) -> None:
        house.come(SPIKE_JOBS)
        house.go(SPIKE_JOBS)
        house.trimmer.stop()
        house.come(SPIKE_JOBS)
        house.go(SPIKE_JOBS)
        await asyncio.sleep(3 * IDLE_S)
        assert house.cleared == []

    visit(scenario)


class _Knot:
    """An object that only the cycle collector frees."""

    def __init__(self, freed: list[None]) -> None:
        self.itself = self
        self.freed = freed

    def __del__(self) -> None:
        self.freed.append(None)


def test_an_engine_frees_what_a_crowd_left_and_answers_as_before() -> None:
    settled: list[str] = []

    async def scenario() -> None:
        engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(8, 640, 16), Telemetry(CollectorRegistry()))
        await engine.load(PLAIN)
        (loaded,) = engine._packages.values()
        assert len(loaded.memory_releases) == 2  # the generator's and the discriminator's
        loaded.memory_releases = [*loaded.memory_releases, lambda: settled.append("behind all others")]
        freed: list[None] = []
        _Knot(freed)

        async def crowd() -> list[bytes]:
            jobs: list[GenerateJob] = [everything(seed, 1) for seed in range(2 * SPIKE_JOBS)]
            answers = await asyncio.gather(*(engine.submit(job) for job in jobs))
            return [answer.sample.tobytes() for answer in answers if answer.sample is not None]

        before = await crowd()
        assert len(before) == 2 * SPIKE_JOBS
        await until(lambda: bool(settled and freed))
        assert await crowd() == before
        await engine.unload(KEY)
        await engine.drain(timeout_s=0)

    gc.disable()
    try:
        asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S))
    finally:
        gc.enable()
