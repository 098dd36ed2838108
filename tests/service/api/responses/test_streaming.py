"""What feeds a stream: one chunk ahead, patient once accepted, within one budget, and gone when its reader is."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import aclosing

import numpy as np
import pytest
from numpy.typing import NDArray

from service.api.context import TimeBudget
from service.api.responses.streaming import draw
from service.engine.interface import GenerateJob, InferJob, Job, Samples
from service.engine.model_spec import GraphKind, LoadReport, PackageGraphs, PackageKey
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, GanymedeError, QueueFull

LONG_S = 60.0
SECONDS_TO_REFUSE = 1.0


class ScriptedEngine:
    """An engine behind the port that answers as a test tells it.

    Args:
        script: for each submission in turn: an error to raise, or seconds to let pass on its clock.
    """

    def __init__(self, *script: GanymedeError | float) -> None:
        self.submitted: list[Job] = []
        self.now = 0.0
        self.holding = asyncio.Event()
        self._script = iter(script)

    async def submit(self, job: Job) -> Samples:
        self.submitted.append(job)
        match next(self._script, None):
            case None:
                self.holding.set()
                await asyncio.Event().wait()
            case GanymedeError() as error:
                self.now += SECONDS_TO_REFUSE
                raise error
            case seconds:
                self.now += seconds
        assert isinstance(job, GenerateJob)
        return Samples(labels=None if job.seeds is None else job.seeds.astype(np.int64))

    async def load(self, package: PackageGraphs) -> LoadReport:
        raise NotImplementedError

    async def unload(self, key: PackageKey) -> None:
        raise NotImplementedError

    async def infer(self, job: InferJob) -> Mapping[str, NDArray[np.generic]]:
        raise NotImplementedError

    async def statistics(self, key: PackageKey) -> Mapping[GraphKind, GraphStatistics]:
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> None:
        raise NotImplementedError


def jobs(count: int) -> Iterator[GenerateJob]:
    for seed in range(count):
        yield GenerateJob(package=PackageKey("toy", 1), seeds=np.array([seed], dtype=np.uint64))


def drawn(engine: ScriptedEngine, count: int, timeout_s: float = LONG_S, *, renewed: bool = False) -> list[int]:
    """Draw to the end; answer the seeds in the order they came."""

    async def collect() -> list[int]:
        budget = TimeBudget(timeout_s, renewed=renewed, clock=lambda: engine.now)
        async with aclosing(draw(engine, jobs(count), budget)) as chunks:
            return [int(samples.labels[0]) async for samples in chunks if samples.labels is not None]

    return asyncio.run(collect())


def test_chunks_come_in_order() -> None:
    assert drawn(ScriptedEngine(0, 0, 0), 3) == [0, 1, 2]


def test_a_full_queue_refuses_the_first_chunk() -> None:
    engine = ScriptedEngine(QueueFull("full", 0.0), 0)
    with pytest.raises(QueueFull):
        drawn(engine, 2)
    assert len(engine.submitted) == 1


def test_a_full_queue_is_waited_out_once_the_stream_was_accepted() -> None:
    full = QueueFull("full", 0.0)
    engine = ScriptedEngine(0, full, full, 0, full, 0)
    assert drawn(engine, 3) == [0, 1, 2]
    assert len(engine.submitted) == 6


def test_all_chunks_share_the_deadline_that_a_caller_asked_for() -> None:
    engine = ScriptedEngine(4.0, 4.0, 4.0, 4.0)
    with pytest.raises(DeadlinePassed):
        drawn(engine, 4, timeout_s=10.0)
    assert [job.timeout_s for job in engine.submitted] == [10.0, 6.0, 2.0]


def test_the_default_deadline_is_each_chunks_own() -> None:
    engine = ScriptedEngine(4.0, 4.0, 4.0, 4.0)
    assert drawn(engine, 4, timeout_s=5.0, renewed=True) == [0, 1, 2, 3]
    assert [job.timeout_s for job in engine.submitted] == [5.0] * 4


def test_waiting_for_a_full_queue_ends_at_the_deadline() -> None:
    full = QueueFull("full", 0.0)
    with pytest.raises(DeadlinePassed):
        drawn(ScriptedEngine(0, *[full] * 9), 2, timeout_s=5.0)


def test_the_next_chunk_is_computed_while_the_reader_has_one_and_no_more_than_that() -> None:
    async def read_one() -> int:
        engine = ScriptedEngine(0, 0)
        async with aclosing(draw(engine, jobs(9), TimeBudget(LONG_S))) as chunks:
            await anext(chunks)
            await anext(chunks)
            await engine.holding.wait()
            return len(engine.submitted)

    assert asyncio.run(read_one()) == 3


def test_a_reader_that_goes_takes_the_chunk_ahead_with_it() -> None:
    async def leave() -> set[asyncio.Task[object]]:
        engine = ScriptedEngine(0)
        async with aclosing(draw(engine, jobs(2), TimeBudget(LONG_S))) as chunks:
            await anext(chunks)
            await engine.holding.wait()
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(leave()) == set()
