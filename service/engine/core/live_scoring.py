"""Scores a few of the samples that callers were given, in the background, for an observer of drift.

    answered jobs ──offer──▶ held: the rows of one small run ──the engine is idle──▶ the discriminator ──▶ observer
                                └── no idle moment within `HOLD_S`: dropped and counted

It takes nothing from callers: rows are kept only where a run is due, a run begins only while no job is in progress, it
uses one core and few rows, and after a run that took t seconds the next is due t/share later. It has a queue and a
thread of its own over the discriminator's sessions, so that no caller's batch grows and no counter of requests moves.
A drawing counts once among the last ones of its package: a probe's seed, or a picture that a page shows again and
again, would otherwise be the distribution.

Shapes: N samples, K classes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter

from service.engine.batching.batcher import Batcher
from service.engine.batching.device_thread import DeviceThread
from service.engine.batching.load import EngineLoad
from service.engine.batching.stats import Meter
from service.engine.core.inputs import SampleInputs
from service.engine.core.pipeline import Discriminator, RunningGraph
from service.engine.core.validation import MAX_CLASSES_JUDGED
from service.engine.interface import GenerateJob, Samples
from service.engine.loading.batch_invariance import is_device
from service.engine.loading.loader import VerifiedGraph
from service.engine.model_spec import Array, Capabilities, PackageKey, Role
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import GanymedeError
from service.metrics import Telemetry

Origin = Literal["prior", "chosen"]

# Rows of one run of the discriminator: few, since a request that arrives during it shares the processor with it.
ROWS: Final = 16
# A run is begun so long after the job whose samples it has, so that its answer can be encoded and sent before.
LOOK_S: Final = 0.01
HOLD_S: Final = 2.0
# For a device that hangs.
DEADLINE_S: Final = 10.0
# Drawings of a package that are not scored again.
REMEMBERED: Final = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSamples:
    """Samples of the live traffic, and what the discriminator says of them.

    Attributes:
        origin: `prior` where the seed drew everything; `chosen` where the caller chose latents, a path, a truncation,
            labels, codes or conditions, so that they need not be distributed as at export.
        logits: [N], each under its own label where the discriminator takes one.
        labels: [N] int64, asked for; None for a package without classes.
        class_logits: [N, K], under every class; None unless the observer reads them.
    """

    package: PackageKey
    origin: Origin
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    class_logits: NDArray[np.float32] | None = None


class Observer(Protocol):
    """Is told of scored samples, on the event loop."""

    def watches(self, package: PackageKey) -> bool:
        """Whether it wants samples of this package."""
        ...

    def reads_classes(self, package: PackageKey) -> bool:
        """Whether it reads logits under every class, which cost K runs a sample."""
        ...

    def observe(self, scored: ScoredSamples) -> None:
        """Take samples."""
        ...


@dataclass(frozen=True, slots=True)
class LiveScoring:
    """How live samples are scored.

    Attributes:
        share: of the time, that runs may take; 0 scores none.
        observer: of what is scored; None scores none.
    """

    share: float = 0.0
    observer: Observer | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is scored."""
        return self.share > 0 and self.observer is not None


class LiveDiscriminator:
    """The discriminator of one package, with a queue and a thread of its own.

    Args:
        key: of the package.
        graph: its discriminator.
        capabilities: of the package.
        sample_range: (lo, hi) of an image's values; None for other samples.
        meter: counts its runs, apart from those of requests.
        load: of all graphs.
        device: runs the sessions where they are not on the CPU.

    Attributes:
        batcher: to be stopped with those of the package.
    """

    def __init__(
        self,
        key: PackageKey,
        graph: VerifiedGraph,
        capabilities: Capabilities,
        sample_range: tuple[float, float] | None,
        meter: Meter,
        load: EngineLoad,
        device: DeviceThread,
    ) -> None:
        self.key = key
        self.capabilities = capabilities
        self.sample_range = sample_range
        buckets = graph.report.buckets
        small = [size for size in buckets if size <= ROWS] or list(buckets[:1])
        costs = {size: graph.instances.single_thread_s[size] for size in small if graph.instances.single_thread_s}
        instances = replace(
            graph.instances, all_cores=None, all_cores_s={}, single_thread_s=costs, concurrency=1, release_memory=None
        )
        on_device = device if is_device(graph.report.provider) else None
        tensors = list(graph.inputs.values())
        self.batcher = Batcher(instances, tensors, small, BatchLimits(), meter, load, device=on_device)
        running = RunningGraph(self.batcher, graph.inputs, graph.outputs)
        self.discriminator = Discriminator(running, graph.batch_coupled, graph.density_ratio)
        self._order: deque[int] = deque(maxlen=REMEMBERED)
        self._remembered: set[int] = set()

    def new_rows(self, job: GenerateJob, count: int, most: int) -> NDArray[np.intp]:
        """Choose at most `most` of a job's `count` drawings, evenly spaced, that were not among the last ones."""
        chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.intp))
        return np.array([row for row in chosen if self._is_new(_identity(job, int(row)))], np.intp)

    def _is_new(self, drawing: int) -> bool:
        if drawing in self._remembered:
            return False
        if len(self._order) == REMEMBERED:
            self._remembered.discard(self._order[0])
        self._order.append(drawing)
        self._remembered.add(drawing)
        return True


@dataclass(frozen=True, slots=True)
class _Held:
    """Samples that wait for an idle moment.

    Attributes:
        until: when they are dropped, on `time.monotonic`.
    """

    live: LiveDiscriminator
    origin: Origin
    samples: SampleInputs
    labels: NDArray[np.int64] | None
    until: float


class LiveScorer:
    """Scores live samples of all packages of an engine; for the event loop's thread.

    Args:
        scoring: how many, and for whom.
        is_idle: whether no job is in progress.
        dropped: counts samples for which there was no idle moment.
    """

    def __init__(self, scoring: LiveScoring, is_idle: Callable[[], bool], dropped: Counter) -> None:
        self._observer = scoring.observer
        self._share = scoring.share
        self._is_idle = is_idle
        self._dropped = dropped
        self._uncounted = Telemetry(CollectorRegistry())  # requests alone move the service's own counters
        self._due = 0.0
        self._held: _Held | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def meter(self, model: str) -> Meter:
        """Where a package's `LiveDiscriminator` counts."""
        return Meter(self._uncounted, model, "live-scoring")

    def offer(self, live: LiveDiscriminator, job: GenerateJob, samples: Samples) -> None:
        """Keep some samples of a job that has been answered, where a run is due.

        Selected samples are not kept: the same discriminator chose them.
        """
        if self._held is not None or time.monotonic() < self._due or job.selection is not None:
            return
        rows = samples.sample if samples.pixels is None else samples.pixels
        if rows is None or self._observer is None or not self._observer.watches(live.key):
            return
        chosen = live.new_rows(job, len(rows), self._most(live))
        if not len(chosen):
            return
        columns: dict[Role, Array | None] = {"label": samples.labels, "condition": job.conditions}
        conditioning = {role: values[chosen] for role, values in columns.items() if values is not None}
        kept = SampleInputs(rows[chosen], conditioning, live.sample_range)
        labels = None if samples.labels is None else samples.labels[chosen]
        self._held = _Held(live, _origin(job), kept, labels, time.monotonic() + HOLD_S)
        self._look_again()

    def stop(self) -> None:
        """Score no more."""
        self._observer = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _most(self, live: LiveDiscriminator) -> int:
        """Most samples in one run."""
        if live.discriminator.batch_coupled:
            return 1
        return max(1, ROWS // self._classes(live)) if self._classes(live) else ROWS

    def _classes(self, live: LiveDiscriminator) -> int:
        """K, where samples are to be scored under every class; else 0."""
        count = live.capabilities.label_count or 0
        takes_label = "label" in live.capabilities.discriminator_conditioning
        reads = self._observer is not None and self._observer.reads_classes(live.key)
        return count if takes_label and reads and count <= MAX_CLASSES_JUDGED else 0

    def _look_again(self) -> None:
        # An empty context: that of the request whose samples these are would have its trace and its log fields.
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look, context=Context())

    def _look(self) -> None:
        """Begin a run if the engine is idle; give up where it has not been for too long."""
        held = self._held
        if held is None:
            return
        if self._is_idle():
            self._task = asyncio.get_running_loop().create_task(self._run(held))
        elif time.monotonic() < held.until:
            self._look_again()
        else:
            self._dropped.inc(len(held.samples))
            self._held = None

    async def _run(self, held: _Held) -> None:
        began = time.monotonic()
        try:
            scored = await self._score(held, began + DEADLINE_S)
        except GanymedeError as error:
            _log.debug("live samples of %s could not be scored: %s", held.live.key, error)
            self._dropped.inc(len(held.samples))
        except Exception:  # noqa: BLE001 - whatever it is, it concerns no caller
            _log.exception("live samples of %s could not be scored", held.live.key)
            self._dropped.inc(len(held.samples))
        else:
            if self._observer is not None:
                self._observer.observe(scored)
        finally:
            now = time.monotonic()
            self._due = now + (now - began) * (1 / self._share - 1)
            self._held = None

    async def _score(self, held: _Held, deadline: float) -> ScoredSamples:
        discriminator, classes = held.live.discriminator, self._classes(held.live)
        scored = ScoredSamples(package=held.live.key, origin=held.origin, logits=_NONE, labels=held.labels)
        if not classes or held.labels is None:
            return replace(scored, logits=await discriminator.score_each(held.samples, deadline))
        of_classes = await discriminator.score_every_class(held.samples, classes, deadline)
        own = np.take_along_axis(of_classes, held.labels[:, np.newaxis], axis=1)[:, 0]
        return replace(scored, logits=own, class_logits=of_classes)


_NONE: Final = np.empty(0, np.float32)


def _origin(job: GenerateJob) -> Origin:
    """Whether the seed drew everything."""
    chosen = (job.latents, job.path, job.truncation, job.labels, job.codes, job.conditions)
    return "prior" if all(each is None for each in chosen) else "chosen"


def _identity(job: GenerateJob, row: int) -> int:
    """A number that equal drawings of a job's row have in common."""
    columns: Iterable[Array | None] = (
        job.seeds, job.latents, job.labels, job.codes, job.conditions, job.candidates,
        None if job.path is None else job.path.positions,
    )  # fmt: skip
    ends = None if job.path is None else (job.path.first, job.path.last, job.path.curve)
    rows = (None if column is None else column[row].tobytes() for column in columns)
    return hash((job.sampler, job.truncation, ends, *rows))
