"""Where a batcher counts: the metrics that charts show, and the exact statistics of its own graph.

It stands apart from the batcher because what is counted changes for other reasons than how requests are batched.
Requests are counted on the event loop, runs by the lane that made them, and the length of the queue, which every thread
moves, under the desk's lock.
"""

import threading
import time
from dataclasses import dataclass, field

from service.engine.statistics import GraphStatistics, Stages, StageTotals, Total
from service.telemetry import Telemetry

_NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Sum:
    """A `Total` that grows."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * _NS_PER_S)

    @property
    def total(self) -> Total:
        return Total(self.count, self.ns)


@dataclass(slots=True)
class _StageSums:
    """A `StageTotals` that grows."""

    inputs: _Sum = field(default_factory=_Sum)
    run: _Sum = field(default_factory=_Sum)
    outputs: _Sum = field(default_factory=_Sum)

    def add(self, stages: Stages) -> None:
        self.inputs.add(stages.inputs_s)
        self.run.add(stages.run_s)
        self.outputs.add(stages.outputs_s)

    @property
    def totals(self) -> StageTotals:
        return StageTotals(self.inputs.total, self.run.total, self.outputs.total)


class Meter:
    """Counts for one graph.

    Args:
        telemetry: the metrics.
        model: a loaded package's name.
        graph: `generator`, `discriminator` or `encoder`.

    Attributes:
        name: of the model and its graph, for people.
    """

    def __init__(self, telemetry: Telemetry, model: str, graph: str) -> None:
        self.name = f"{model}-{graph}"
        self._samples = telemetry.samples.labels(model, graph)
        self._queue_samples = telemetry.queue_samples.labels(model, graph)
        self._queue_seconds = telemetry.queue_seconds.labels(model, graph)
        self._batch_samples = telemetry.batch_samples.labels(model, graph)
        self._padding_samples = telemetry.padding_samples.labels(model, graph)
        self._run_seconds = telemetry.run_seconds.labels(model, graph)
        self._known_queue = 0
        self._samples_answered = 0
        self._last_answer: float | None = None
        self._answered, self._failed, self._queued = _Sum(), _Sum(), _Sum()
        self._stages = _StageSums()
        self._lock = threading.Lock()
        self._batches: dict[int, _StageSums] = {}

    @property
    def statistics(self) -> GraphStatistics:
        """Everything so far."""
        with self._lock:
            batches = {size: sums.totals for size, sums in self._batches.items()}
        return GraphStatistics(
            samples=self._samples_answered,
            runs=sum(totals.run.count for totals in batches.values()),
            last_answer=self._last_answer,
            answered=self._answered.total,
            failed=self._failed.total,
            queued=self._queued.total,
            stages=self._stages.totals,
            batches=batches,
        )

    def queue_is(self, samples: int) -> None:
        """Add the change to the gauge: two versions of a model share it."""
        if samples == self._known_queue:
            return
        self._queue_samples.inc(samples - self._known_queue)
        self._known_queue = samples

    def waited(self, seconds: float) -> None:
        """Count a request that its first run took from the queue."""
        self._queue_seconds.observe(seconds)

    def ran(self, samples: int, size: int, stages: Stages) -> None:
        """Count a run of `size` rows, `samples` of them somebody's."""
        self._samples.inc(samples)
        self._batch_samples.observe(samples)
        self._padding_samples.inc(size - samples)
        self._run_seconds.observe(stages.run_s)
        with self._lock:
            self._batches.setdefault(size, _StageSums()).add(stages)

    def answered(self, samples: int, queue_s: float, stages: Stages, whole_s: float) -> None:
        """Count a request that was answered just now.

        Args:
            samples: that it asked for.
            queue_s: from its arrival to its first run.
            stages: of the runs it was part of.
            whole_s: from its arrival to now.
        """
        self._samples_answered += samples
        self._last_answer = time.time()
        self._answered.add(whole_s)
        self._queued.add(queue_s)
        self._stages.add(stages)

    def failed(self, whole_s: float) -> None:
        """Count a request that ended without an answer, `whole_s` after its arrival."""
        self._failed.add(whole_s)
