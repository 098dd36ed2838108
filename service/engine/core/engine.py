"""The engine in this process: `Engine` of `port.py`, with a batcher and its workers for each graph.

    load ──▶ sessions made and proven on a thread ──▶ batchers, pipeline ◀── submit

It keeps the books: which packages are loaded, which jobs they have, and whether the engine still takes any. A package
lets go of its sessions only when its last job is done, and no job waits for another package's load.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from service.engine.batching.batcher import Batcher
from service.engine.batching.load import EngineLoad, IdleTrimmer
from service.engine.batching.scheduler import BatchLimits
from service.engine.batching.stats import Meter
from service.engine.config import Runtime
from service.engine.core import infer
from service.engine.core.pipeline import Discriminator, Pipeline, RunningGraph
from service.engine.core.validation import Capabilities
from service.engine.finite import FinitenessCheck
from service.engine.interface import InferJob, Job, Samples
from service.engine.loading.loader import VerifiedGraph, VerifiedPackage, load_package
from service.engine.model_spec import Array, GraphKind, LoadReport, PackageGraphs, PackageKey, Role
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, NotFound, NotReady, QueueFull
from service.memory import give_back_freed_memory
from service.metrics import Telemetry

_REASONS: Mapping[type[BaseException], str] = {
    QueueFull: "queue_full",
    DeadlinePassed: "deadline",
    NotReady: "draining",
    asyncio.CancelledError: "cancelled",
}
TURNED_AWAY = tuple(_REASONS)
STOPPING = "the service is stopping"

_log = logging.getLogger(__name__)


class _Loaded:
    """A package that takes jobs.

    Args:
        pipeline: the way of its jobs.
        graphs: what it runs, each with its batcher.
        memory_releases: how to bring their memory back to what loading left of it.

    Attributes:
        pipeline: as given.
        graphs: likewise, and so are `memory_releases`.
        jobs: how many it has.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        graphs: Mapping[GraphKind, RunningGraph],
        memory_releases: Sequence[Callable[[], None]],
    ) -> None:
        self.pipeline = pipeline
        self.graphs = graphs
        self.memory_releases = memory_releases
        self.jobs = 0
        self._idle = asyncio.Event()

    def end_job(self) -> None:
        """Count a job that ended, however it did."""
        self.jobs -= 1
        if self.jobs == 0:
            self._idle.set()

    async def finish(self) -> None:
        """Wait for the jobs there are, then free the sessions."""
        while self.jobs:
            self._idle.clear()
            await self._idle.wait()
        self.stop()
        for graph in self.graphs.values():
            await graph.batcher.stopped()

    def stop(self) -> None:
        """Fail the jobs there are; sessions are free when the runs in progress end."""
        for graph in self.graphs.values():
            graph.batcher.stop()


class LocalEngine:
    """Computes in this process.

    Args:
        runtime: how sessions are made.
        limits: how much may run and wait, for each graph.
        telemetry: where it counts.
    """

    def __init__(self, runtime: Runtime, limits: BatchLimits, telemetry: Telemetry) -> None:
        self._runtime = runtime
        self._limits = limits
        self._telemetry = telemetry
        self._load = EngineLoad()
        self._trimmer = IdleTrimmer(self._clear_up)
        self._packages: dict[PackageKey, _Loaded] = {}
        self._retiring: set[_Loaded] = set()
        self._draining = False

    async def load(self, package: PackageGraphs) -> LoadReport:
        """As `Engine.load`; the same package loaded again takes over from itself."""
        started = time.monotonic()
        proven = await asyncio.to_thread(load_package, package, self._runtime, self._limits)
        await asyncio.to_thread(give_back_freed_memory)
        self._refuse_if_draining()
        load_s = time.monotonic() - started
        before = self._packages.get(package.key)
        self._packages[package.key] = self._start(package, proven)
        if before is not None:
            await self._retire(before)
        discriminator, encoder = (
            None if graph is None else graph.report for graph in (proven.discriminator, proven.encoder)
        )
        return LoadReport(proven.generator.report, discriminator, encoder, load_s)

    async def unload(self, key: PackageKey) -> None:
        """As `Engine.unload`; nothing happens where the package is not loaded."""
        loaded = self._packages.pop(key, None)
        if loaded is not None:
            await self._retire(loaded)

    async def submit(self, job: Job) -> Samples:
        """As `Engine.submit`."""
        loaded = self._begin_job(job.package)
        try:
            return await loaded.pipeline.answer(job, _deadline(job))
        except TURNED_AWAY as error:
            self._count_rejected(error)
            raise
        finally:
            self._end_job(loaded)

    async def infer(self, job: InferJob) -> Mapping[str, Array]:
        """As `Engine.infer`."""
        loaded = self._begin_job(job.package)
        try:
            graph = loaded.graphs.get(job.graph)
            if graph is None:
                raise NotFound(f"{job.package} has no {job.graph}")
            return await infer.infer(job, graph, loaded.pipeline.capabilities, _deadline(job))
        except TURNED_AWAY as error:
            self._count_rejected(error)
            raise
        finally:
            self._end_job(loaded)

    async def statistics(self, key: PackageKey) -> Mapping[GraphKind, GraphStatistics]:
        """As `Engine.statistics`."""
        return {kind: graph.batcher.meter.statistics for kind, graph in self._loaded(key).graphs.items()}

    async def drain(self, timeout_s: float) -> None:
        """As `Engine.drain`."""
        self._draining = True
        self._trimmer.stop()
        packages = [*self._packages.values(), *self._retiring]
        self._packages.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(package.finish() for package in packages))
        except TimeoutError:
            _log.warning("jobs that were still running after %g s of draining have been failed", timeout_s)
        finally:
            for package in packages:
                package.stop()

    async def _retire(self, loaded: _Loaded) -> None:
        self._retiring.add(loaded)
        try:
            await loaded.finish()
        finally:
            loaded.stop()
            self._retiring.discard(loaded)

    def _begin_job(self, key: PackageKey) -> _Loaded:
        """Hold a package for one job, until `_end_job`."""
        if self._draining:
            error = NotReady(STOPPING)
            self._count_rejected(error)
            raise error
        loaded = self._loaded(key)
        loaded.jobs += 1
        self._trimmer.job_began()
        return loaded

    def _end_job(self, loaded: _Loaded) -> None:
        loaded.end_job()
        self._trimmer.job_ended()

    def _clear_up(self) -> None:
        """Free what nobody refers to, then what sessions grew by, then give the pages back."""
        gc.collect()
        for loaded in list(self._packages.values()):
            for release_memory in loaded.memory_releases:
                release_memory()
        give_back_freed_memory()

    def _count_rejected(self, error: BaseException) -> None:
        self._telemetry.rejected.labels(_REASONS[type(error)]).inc()

    def _loaded(self, key: PackageKey) -> _Loaded:
        loaded = self._packages.get(key)
        if loaded is None:
            raise NotFound(f"{key} is not loaded")
        return loaded

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise NotReady(STOPPING)

    def _start(self, package: PackageGraphs, proven: VerifiedPackage) -> _Loaded:
        """Give each graph its workers."""
        graphs: dict[GraphKind, RunningGraph] = {}

        def run(kind: GraphKind, graph: VerifiedGraph) -> RunningGraph:
            meter = Meter(self._telemetry, package.key.name, kind)
            inputs = list(graph.inputs.values())
            floats = [output.name for output in graph.outputs.values() if output.dtype.kind == "f"]
            finite = FinitenessCheck(floats, f"the {kind} of {package.key}")
            buckets = graph.report.buckets
            batcher = Batcher(graph.instances, inputs, buckets, self._limits, meter, self._load, finite)
            graphs[kind] = RunningGraph(batcher, graph.inputs, graph.outputs)
            return graphs[kind]

        judge = encoder = None
        if (graph := proven.discriminator) is not None:
            judge = Discriminator(run("discriminator", graph), graph.batch_coupled, graph.density_ratio)
        if proven.encoder is not None:
            encoder = run("encoder", proven.encoder)
        generator = run("generator", proven.generator)
        parts = (proven.generator, proven.discriminator, proven.encoder)
        memory_releases = [
            part.instances.release_memory
            for part in parts
            if part is not None and part.instances.release_memory is not None
        ]
        return _Loaded(
            Pipeline(_capabilities(package, proven, self._limits), package.sample_range, generator, judge, encoder),
            graphs,
            memory_releases,
        )


def _deadline(job: Job | InferJob) -> float | None:
    """When a job that arrives now is late, on `time.monotonic`."""
    return None if job.timeout_s is None else time.monotonic() + job.timeout_s


def _capabilities(
    package: PackageGraphs,
    proven: VerifiedPackage,
    limits: BatchLimits,
) -> Capabilities:
    pixels = proven.generator.outputs.get("pixels")
    scores_groups = proven.discriminator is not None and proven.discriminator.batch_coupled

    def conditioning(graph: VerifiedGraph | None) -> frozenset[Role]:
        return frozenset(() if graph is None else graph.inputs.keys() - {"sample"})

    return Capabilities(
        latent_size=package.latent_size,
        prior=package.prior,
        label_count=package.label_count,
        codes=package.codes,
        condition_count=package.condition_count,
        item_count=package.item_count,
        sample_shape=proven.generator.outputs["sample"].shape[1:],
        pixels_shape=None if pixels is None else pixels.shape[1:],
        discriminator_conditioning=conditioning(proven.discriminator),
        encoder_conditioning=conditioning(proven.encoder),
        largest_group=limits.request_queue_samples if scores_groups else None,
    )
