"""The engine in this process: its loaded packages, each graph with a batcher and worker threads.

    load ──▶ sessions made and verified on a thread ──▶ batchers ──▶ Pipeline ◀── submit, infer
                        └──── runs on a device ────────────┴──▶ DeviceThread, one for all packages

A package frees its sessions when its last job is done; no job waits for another package to load.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from service.engine.batching.batcher import Batcher, sharing
from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.load import EngineLoad, IdleTrimmer
from service.engine.batching.stats import Meter
from service.engine.config import Runtime
from service.engine.core.live_scoring import LiveDiscriminator, LiveScorer, LiveScoring
from service.engine.core.pipeline import Discriminator, Pipeline, RunningGraph
from service.engine.finite import FinitenessCheck
from service.engine.interface import NO_SHARE, GenerateJob, InferJob, Job, Samples
from service.engine.loading.batch_invariance import is_device
from service.engine.loading.loader import VerifiedGraph, VerifiedPackage, load_package
from service.engine.model_spec import Array, Capabilities, GraphKind, LoadReport, PackageGraphs, PackageKey, Role
from service.engine.scheduling.scheduler import BatchLimits
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, NotFound, NotReady, QueueFull
from service.memory import trim_heap
from service.metrics import Telemetry

_REJECTION_REASONS: Mapping[type[BaseException], str] = {
    QueueFull: "queue_full",
    DeadlinePassed: "deadline",
    NotReady: "draining",
    asyncio.CancelledError: "cancelled",
}
_REJECTIONS = tuple(_REJECTION_REASONS)
STOPPING = "the service is stopping"

J = TypeVar("J", bound=Job | InferJob)
A = TypeVar("A")

_log = logging.getLogger(__name__)


class _LoadedPackage:
    """A package that takes jobs.

    Attributes:
        pipeline: that answers them.
        memory_releases: `InstanceGroup.release_memory` of each graph that has one.
        live: scores live samples; None where they are not scored.
        jobs: number of jobs in progress.
        last_used: when the last job ended, or the package was loaded; on the monotonic clock.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        memory_releases: Sequence[Callable[[], None]],
        live: LiveDiscriminator | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.memory_releases = memory_releases
        self.live = live
        self.jobs = 0
        self.last_used = time.monotonic()
        self._batchers = [graph.batcher for graph in pipeline.graphs.values()]
        if live is not None:
            self._batchers.append(live.batcher)
        self._idle = asyncio.Event()

    def end_job(self) -> None:
        """Count a job that ended, in whichever way."""
        self.jobs -= 1
        self.last_used = time.monotonic()
        if self.jobs == 0:
            self._idle.set()

    async def finish(self) -> None:
        """Wait for the jobs in progress, then free the sessions."""
        while self.jobs:
            self._idle.clear()
            await self._idle.wait()
        self.stop()
        for batcher in self._batchers:
            await batcher.stopped()

    def stop(self) -> None:
        """Fail the jobs in progress; the sessions are freed when the current runs end."""
        for batcher in self._batchers:
            batcher.stop()


class LocalEngine:
    """Computes in this process; see `Engine`.

    Args:
        runtime: how sessions are made.
        limits: how much may run and wait, for each graph.
        telemetry: where it counts.
        scoring: of live samples, in the background; off when left out.
    """

    def __init__(
        self, runtime: Runtime, limits: BatchLimits, telemetry: Telemetry, scoring: LiveScoring | None = None
    ) -> None:
        self._runtime = runtime
        self._limits = limits
        self._telemetry = telemetry
        self._load = EngineLoad()
        self._device = DeviceThread()
        self._trimmer = IdleTrimmer(self._free_memory)
        self._scorer: LiveScorer | None = None
        if scoring is not None and scoring.is_on:
            self._scorer = LiveScorer(scoring, lambda: self._trimmer.jobs == 0, telemetry.drift.dropped)
        self._packages: dict[PackageKey, _LoadedPackage] = {}
        self._retiring: set[_LoadedPackage] = set()
        self._draining = False

    async def load(self, package: PackageGraphs) -> LoadReport:
        """As `Engine.load`; a package that is loaded again replaces itself."""
        started = time.monotonic()
        verified = await asyncio.to_thread(load_package, package, self._runtime, self._limits, self._device)
        await asyncio.to_thread(trim_heap)
        if self._draining:
            raise NotReady(STOPPING)
        load_s = time.monotonic() - started
        replaced = self._packages.get(package.key)
        self._packages[package.key] = loaded = self._start(package, verified)
        if replaced is not None:
            await self._retire(replaced)
        reports = {kind: graph.report for kind, graph in verified.graphs.items()}
        return LoadReport(
            reports["generator"],
            reports.get("discriminator"),
            reports.get("encoder"),
            load_s,
            loaded.pipeline.capabilities,
        )

    async def unload(self, key: PackageKey) -> None:
        """As `Engine.unload`; nothing happens where the package is not loaded."""
        loaded = self._packages.pop(key, None)
        if loaded is not None:
            await self._retire(loaded)

    async def submit(self, job: Job) -> Samples:
        """As `Engine.submit`."""
        samples = await self._answer(job, Pipeline.submit)
        if self._scorer is not None and isinstance(job, GenerateJob):
            loaded = self._packages.get(job.package)
            if loaded is not None and loaded.live is not None:
                self._scorer.offer(loaded.live, job, samples)
        return samples

    async def infer(self, job: InferJob) -> Mapping[str, Array]:
        """As `Engine.infer`."""
        return await self._answer(job, Pipeline.infer)

    async def statistics(self, key: PackageKey) -> Mapping[GraphKind, GraphStatistics]:
        """As `Engine.statistics`."""
        graphs = self._loaded(key).pipeline.graphs
        return {kind: graph.batcher.meter.statistics for kind, graph in graphs.items()}

    def usage(self, key: PackageKey) -> tuple[int, float]:
        """Jobs in progress of a package, and when the last one ended or it was loaded; on the monotonic clock.

        Raises:
            NotFound: the package is not loaded.
        """
        loaded = self._loaded(key)
        return loaded.jobs, loaded.last_used

    async def drain(self, timeout_s: float) -> None:
        """As `Engine.drain`."""
        self._draining = True
        self._trimmer.stop()
        if self._scorer is not None:
            self._scorer.stop()
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
            self._device.stop()

    async def _answer(self, job: J, answer: Callable[[Pipeline, J, float | None], Awaitable[A]]) -> A:
        """Have a package's pipeline answer a job, and hold the package until it has."""
        if self._draining:
            self._telemetry.rejected.labels("draining").inc()
            raise NotReady(STOPPING)
        loaded = self._loaded(job.package)
        loaded.jobs += 1
        self._trimmer.job_began()
        try:
            deadline = None if job.timeout_s is None else time.monotonic() + job.timeout_s
            if job.share is NO_SHARE:
                return await answer(loaded.pipeline, job, deadline)
            with sharing(job.share):
                return await answer(loaded.pipeline, job, deadline)
        except _REJECTIONS as error:
            self._telemetry.rejected.labels(_REJECTION_REASONS[type(error)]).inc()
            raise
        finally:
            loaded.end_job()
            self._trimmer.job_ended()

    def _loaded(self, key: PackageKey) -> _LoadedPackage:
        loaded = self._packages.get(key)
        if loaded is None:
            raise NotFound(f"{key} is not loaded")
        return loaded

    async def _retire(self, loaded: _LoadedPackage) -> None:
        self._retiring.add(loaded)
        try:
            await loaded.finish()
        finally:
            loaded.stop()
            self._retiring.discard(loaded)

    def _free_memory(self) -> None:
        """Free reference cycles, then what the sessions grew by, then return the pages to the system."""
        gc.collect()
        for loaded in list(self._packages.values()):
            for release_memory in loaded.memory_releases:
                release_memory()
        trim_heap()

    def _start(self, package: PackageGraphs, verified: VerifiedPackage) -> _LoadedPackage:
        """Give each graph a batcher with its worker threads."""
        graphs = {kind: self._start_graph(package.key, kind, graph) for kind, graph in verified.graphs.items()}
        capabilities = _capabilities(package, verified, self._limits)
        discriminator, live = None, None
        if (graph := verified.discriminator) is not None:
            discriminator = Discriminator(graphs["discriminator"], graph.batch_coupled, graph.density_ratio)
            if self._scorer is not None:
                meter = self._scorer.meter(package.key.name)
                ranged = capabilities, package.sample_range
                live = LiveDiscriminator(package.key, graph, *ranged, meter, self._load, self._device)
        releases = [graph.instances.release_memory for graph in verified.graphs.values()]
        return _LoadedPackage(
            Pipeline(capabilities, package.sample_range, graphs, discriminator),
            [release for release in releases if release is not None],
            live,
        )

    def _start_graph(self, key: PackageKey, kind: GraphKind, graph: VerifiedGraph) -> RunningGraph:
        floats = [output.name for output in graph.outputs.values() if output.dtype.kind == "f"]
        batcher = Batcher(
            graph.instances,
            list(graph.inputs.values()),
            graph.report.buckets,
            self._limits,
            Meter(self._telemetry, key.name, kind),
            self._load,
            FinitenessCheck(floats, f"the {kind} of {key}"),
            device=self._device if is_device(graph.report.provider) else None,
            described={
                "ganymede.graph": kind,
                "ganymede.provider": graph.report.provider,
                **({} if graph.report.device is None else {"ganymede.device": graph.report.device.name}),
            },
        )
        return RunningGraph(batcher, graph.inputs, graph.outputs)


def _capabilities(package: PackageGraphs, verified: VerifiedPackage, limits: BatchLimits) -> Capabilities:
    """What a package's jobs may ask for."""
    pixels = verified.generator.outputs.get("pixels")
    scores_groups = verified.discriminator is not None and verified.discriminator.batch_coupled

    def conditioning(graph: VerifiedGraph | None) -> tuple[Role, ...]:
        return () if graph is None else tuple(role for role in graph.inputs if role != "sample")

    return Capabilities(
        latent_size=package.latent_size,
        prior=package.prior,
        label_count=package.label_count,
        codes=package.codes,
        condition_count=package.condition_count,
        item_count=package.item_count,
        sample_shape=verified.generator.outputs["sample"].shape[1:],
        pixels_shape=None if pixels is None else pixels.shape[1:],
        discriminator_conditioning=conditioning(verified.discriminator),
        encoder_conditioning=conditioning(verified.encoder),
        largest_group=limits.request_queue_samples if scores_groups else None,
    )
