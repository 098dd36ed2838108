"""A few live samples are scored in idle moments: no caller waits for it, and wrong arithmetic shows in the gauges."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.app import computing
from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.core.live_scoring import REMEMBERED, LiveScoring, Origin, ScoredSamples
from service.engine.interface import Engine, GenerateJob, ScoreJob, Selection
from service.engine.interface import Path as LatentPath
from service.engine.model_spec import PackageGraphs, PackageKey
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from service.packages.drift import LEAST, WINDOW
from service.settings import Settings
from tests.support.toy import toy_graphs, write_toy_package

KEY = PackageKey("toy", 1)
ALARM = 0.25  # of the rule GanymedeDriftRealness
AT_EXPORT = 4000
PATIENCE_S = 20.0


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self, *, reads_classes: bool = False) -> None:
        self.scored: list[ScoredSamples] = []
        self._reads_classes = reads_classes

    def watches(self, package: PackageKey) -> bool:
        return package == KEY

    def reads_classes(self, package: PackageKey) -> bool:
        return self._reads_classes

    def observe(self, scored: ScoredSamples) -> None:
        self.scored.append(scored)

    @property
    def logits(self) -> NDArray[np.float32]:
        return np.concatenate([each.logits for each in self.scored])

    def __len__(self) -> int:
        return sum(len(each.logits) for each in self.scored)


class Scoring:
    """An engine that scores live samples of one toy."""

    def __init__(self, engine: Engine, registry: CollectorRegistry, notes: Notes) -> None:
        self.engine = engine
        self.notes = notes
        self.registry = registry

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"ganymede_{name}", labels) or 0.0


@asynccontextmanager
async def scoring(package: PackageGraphs, notes: Notes | None = None, share: float = 0.5) -> AsyncIterator[Scoring]:
    registry, notes = CollectorRegistry(), Notes() if notes is None else notes
    limits = BatchLimits(max_batch_samples=16)
    engine = LocalEngine(Runtime(device="cpu", threads=1), limits, Telemetry(registry), LiveScoring(share, notes))
    await engine.load(package)
    try:
        yield Scoring(engine, registry, notes)
    finally:
        await engine.drain(timeout_s=5)


def job(first: int = 0, count: int = 16) -> GenerateJob:
    return GenerateJob(package=KEY, seeds=np.arange(first, first + count, dtype=np.uint64))


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  (the engine has no event to wait for)
            await asyncio.sleep(0.005)


async def draw_until(engine: Engine, holds: Callable[[], bool], first: int = 0) -> int:
    """Ask for ever new samples until a condition holds; returns the next seed."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await engine.submit(job(first))
            first += 16
            await asyncio.sleep(0.005)
    return first


def test_what_is_scored_is_what_the_caller_would_be_told_of_the_same_samples() -> None:
    async def run() -> None:
        async with scoring(toy_graphs()) as it:
            samples = await it.engine.submit(job())
            await eventually(lambda: len(it.notes) == 16)
            told = await it.engine.submit(ScoreJob(package=KEY, pixels=samples.pixels))
            assert told.logits is not None
            assert it.notes.logits.tobytes() == told.logits.tobytes()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("package", "reads_classes"),
    [
        (toy_graphs(conditional=True, label_count=3), True),
        (toy_graphs(conditional=True, label_count=3), False),
        (toy_graphs(batch_coupled=True), False),
        (toy_graphs(pack=2), False),
        (toy_graphs(kind="vector"), False),
        (toy_graphs(kind="item", condition_count=5, prior="gumbel"), False),
    ],
    ids=["classes", "own class", "coupled", "packing", "vectors", "items"],
)
def test_every_kind_of_discriminator_is_asked(package: PackageGraphs, reads_classes: bool) -> None:
    async def run() -> None:
        images, users = package.sample_range is not None, package.condition_count
        async with scoring(package, Notes(reads_classes=reads_classes)) as it:
            asked = GenerateJob(
                package=KEY,
                seeds=np.arange(16, dtype=np.uint64),
                conditions=None if users is None else np.zeros(16, np.int64),
                want_pixels=images,
                want_sample=not images,
            )
            await it.engine.submit(asked)
            await eventually(lambda: len(it.notes) > 0)
            (scored,) = it.notes.scored
            assert np.isfinite(scored.logits).all()
            assert scored.origin == ("prior" if users is None else "chosen")
            assert (scored.labels is not None) == (package.label_count is not None)
            if reads_classes:
                assert scored.class_logits is not None
                assert scored.class_logits.shape == (len(scored.logits), 3)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({}, "prior"),
        ({"candidates": np.full(16, 3, np.uint64)}, "prior"),
        ({"truncation": 0.5}, "chosen"),
        ({"labels": np.zeros(16, np.int64)}, "chosen"),
        ({"seeds": None, "latents": np.ones((16, 16), np.float32), "labels": np.zeros(16, np.int64)}, "chosen"),
        (
            {"seeds": None, "path": LatentPath(first=1, last=2, positions=np.linspace(0, 1, 16), curve="slerp")},
            "chosen",
        ),
    ],
    ids=["seeds", "candidates", "truncation", "labels", "latents", "path"],
)
def test_samples_that_a_caller_steers_count_apart(changes: dict[str, object], origin: Origin) -> None:
    async def run() -> None:
        async with scoring(toy_graphs(conditional=True, label_count=3)) as it:
            fields = {"package": KEY, "seeds": np.arange(16, dtype=np.uint64)} | changes
            await it.engine.submit(GenerateJob(**fields))  # type: ignore[arg-type]
            await eventually(lambda: len(it.notes) > 0)
            assert it.notes.scored[0].origin == origin

    asyncio.run(run())


def test_selected_samples_are_left_out_and_equal_drawings_count_once() -> None:
    async def run() -> None:
        async with scoring(toy_graphs()) as it:
            chosen = Selection(method="best-of", candidates=2)
            seeds = np.arange(100, 116, dtype=np.uint64)
            await it.engine.submit(GenerateJob(package=KEY, seeds=seeds, selection=chosen))
            for _ in range(5):  # a probe, and a page that shows one picture
                await it.engine.submit(job(0, 1))
                await asyncio.sleep(0.03)
            assert len(it.notes) == 1
            await draw_until(it.engine, lambda: len(it.notes) > REMEMBERED + 16, first=16)
            before = len(it.notes)
            await draw_until(it.engine, lambda: len(it.notes) > before, first=0)  # forgotten by now

    asyncio.run(run())


def test_callers_get_the_same_bytes_and_no_counter_of_requests_moves() -> None:
    async def run() -> None:
        async with scoring(toy_graphs()) as on, scoring(toy_graphs(), share=0.0) as off:
            for first in range(0, 320, 16):
                one, other = await on.engine.submit(job(first)), await off.engine.submit(job(first))
                assert one.pixels is not None
                assert other.pixels is not None
                assert one.pixels.tobytes() == other.pixels.tobytes()
                await asyncio.sleep(0.02)
            assert len(on.notes) > 0
            assert len(off.notes) == 0
            for graph, samples in (("generator", 320), ("discriminator", 0)):
                labels = {"model": "toy", "graph": graph}
                assert on.metric("samples_total", **labels) == off.metric("samples_total", **labels) == samples
                assert on.metric("batch_run_seconds_count", **labels) == off.metric("batch_run_seconds_count", **labels)
            statistics = await on.engine.statistics(KEY)
            assert statistics["discriminator"].runs == 0

    asyncio.run(run())


def test_nothing_is_scored_while_a_job_is_in_progress_and_what_finds_no_idle_moment_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.engine.core.live_scoring.HOLD_S", 0.2)

    async def run() -> None:
        async with scoring(toy_graphs()) as it:
            stop = asyncio.Event()

            async def ask(first: int) -> None:
                while not stop.is_set():
                    await it.engine.submit(job(first))
                    first += 16

            # So many that one is always in progress.
            callers = [asyncio.create_task(ask(caller * 1_000_000)) for caller in range(8)]
            await eventually(lambda: it.metric("drift_dropped_total") >= 16)
            assert len(it.notes) == 0
            stop.set()
            await asyncio.gather(*callers)
            await draw_until(it.engine, lambda: len(it.notes) > 0, first=9_000_000)

    asyncio.run(run())


def test_runs_take_no_more_than_their_share_of_the_time() -> None:
    async def run(share: float) -> int:
        async with scoring(toy_graphs(), share=share) as it:
            ends = time.monotonic() + 1.0
            first = 0
            while time.monotonic() < ends:
                await it.engine.submit(job(first))
                first += 16
                await asyncio.sleep(0.012)
            return len(it.notes)

    much, little = (asyncio.run(run(share)) for share in (0.5, 0.005))
    assert 0 < little < much / 4


def test_a_package_that_is_not_watched_is_not_scored() -> None:
    async def run() -> None:
        async with scoring(toy_graphs()) as it:
            other = toy_graphs("other")
            await it.engine.load(other)
            seeds = np.arange(16, dtype=np.uint64)
            for _ in range(5):
                await it.engine.submit(GenerateJob(package=other.key, seeds=seeds))
            await it.engine.submit(job())
            await eventually(lambda: len(it.notes) > 0)
            assert [each.package for each in it.notes.scored] == [KEY]

    asyncio.run(run())


def test_a_package_that_is_unloaded_meanwhile_costs_nothing_but_the_samples() -> None:
    async def run() -> None:
        async with scoring(toy_graphs()) as it:
            await it.engine.submit(job())
            await it.engine.unload(KEY)
            await eventually(lambda: it.metric("drift_dropped_total") == 16)
            assert len(it.notes) == 0

    asyncio.run(run())


def written(folder: Path) -> Path:
    """A toy on disk whose manifest knows the logits of 4,000 of its samples, as an exporter's does."""
    path = write_toy_package(folder)

    async def logits() -> NDArray[np.float64]:
        engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(), Telemetry(CollectorRegistry()))
        await engine.load(toy_graphs())
        seeds = np.random.default_rng(0).integers(2**40, 2**41, AT_EXPORT, np.uint64)
        drawn = await engine.submit(GenerateJob(package=KEY, seeds=seeds, want_logits=True))
        await engine.drain(timeout_s=5)
        assert drawn.logits is not None
        return drawn.logits.astype(np.float64)

    manifest = json.loads((path / "manifest.json").read_text())
    judge = manifest["discriminator"]
    judge["reference_quantiles"]["generated"] = np.quantile(asyncio.run(logits()), np.linspace(0, 1, 101)).tolist()
    judge["calibration"] |= {"fit_samples": AT_EXPORT, "evaluation_samples": AT_EXPORT}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return folder


def broken_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on ONNX Runtime computes a generator's pixels wrongly, as with a bad kernel or bad memory."""
    run = ort.InferenceSession.run

    def wrong(
        self: ort.InferenceSession, names: Sequence[str], feeds: object, *rest: object
    ) -> list[NDArray[np.generic]]:
        results: list[NDArray[np.generic]] = run(self, names, feeds, *rest)
        return [255 - values // 2 if values.dtype == np.uint8 else values for values in results]

    monkeypatch.setattr(ort.InferenceSession, "run", wrong)


def test_healthy_traffic_raises_no_alarm_and_wrong_arithmetic_does_within_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path)

    async def answered() -> None:
        """No request is in progress: there is no HTTP here."""

    async def run() -> None:
        registry = CollectorRegistry()
        settings = Settings(
            models_dir=folder, default_model="toy", device="cpu", model_threads=1, drift_share=0.5,
            rescan_interval_s=0,
        )  # fmt: skip
        labels = {"model": "toy", "version": "1", "origin": "prior"}

        def index() -> float:
            return registry.get_sample_value("ganymede_drift_population_stability_index", labels) or 0.0

        def scored() -> float:
            return registry.get_sample_value("ganymede_drift_samples_total", labels) or 0.0

        failed: Callable[[], None] = asyncio.Event().set
        done: Callable[[], Awaitable[None]] = answered
        async with computing(settings, Telemetry(registry), done, failed) as (engine, repository):
            await eventually(lambda: repository.ready)
            seed = await draw_until(engine, lambda: scored() >= WINDOW + LEAST)
            assert 0 < index() < ALARM / 2
            before = scored()
            broken_arithmetic(monkeypatch)
            await draw_until(engine, lambda: index() > ALARM, first=seed)
            assert scored() - before <= WINDOW

    asyncio.run(run())
