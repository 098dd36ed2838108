"""Counters of one graph: the Prometheus series of its model, and the exact `GraphStatistics` of this load of it."""

import threading
import time
from dataclasses import dataclass

from service.engine.statistics import NO_TIME, GraphStatistics, Stages, StageTotals, Total
from service.metrics import Telemetry

_NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Sums:
    """Durations of one kind of event, runs or requests, added up; those of the queue and the whole are of requests."""

    count: int = 0
    inputs_ns: int = 0
    run_ns: int = 0
    outputs_ns: int = 0
    queue_ns: int = 0
    whole_ns: int = 0

    def add(self, stages: Stages, queue_s: float = 0.0, whole_s: float = 0.0) -> None:
        self.count += 1
        self.inputs_ns += int(stages.inputs_s * _NS_PER_S)
        self.run_ns += int(stages.run_s * _NS_PER_S)
        self.outputs_ns += int(stages.outputs_s * _NS_PER_S)
        self.queue_ns += int(queue_s * _NS_PER_S)
        self.whole_ns += int(whole_s * _NS_PER_S)

    @property
    def stages(self) -> StageTotals:
        count = self.count
        return StageTotals(Total(count, self.inputs_ns), Total(count, self.run_ns), Total(count, self.outputs_ns))


class Meter:
    """Counts for one graph. Requests are counted on the event loop, the queue and its runs under the queue's lock.

    Args:
        model: a loaded package's name.
        graph: `generator`, `discriminator` or `encoder`.

    Attributes:
        name: of the model and its graph, for thread names.
    """

    def __init__(self, telemetry: Telemetry, model: str, graph: str) -> None:
        self.name = f"{model}-{graph}"
        self._series = telemetry.graphs.labels(model, graph)
        self._queued = 0
        self._samples_answered = 0
        self._last_answer: float | None = None
        self._answered = _Sums()
        self._failed = _Sums()
        self._lock = threading.Lock()  # statistics are read while runs end
        self._batches: dict[int, _Sums] = {}

    @property
    def statistics(self) -> GraphStatistics:
        """Everything so far."""
        with self._lock:
            batches = {size: sums.stages for size, sums in self._batches.items()}
        answered = self._answered
        return GraphStatistics(
            samples=self._samples_answered,
            runs=sum(totals.run.count for totals in batches.values()),
            last_answer=self._last_answer,
            answered=Total(answered.count, answered.whole_ns),
            failed=Total(self._failed.count, self._failed.whole_ns),
            queued=Total(answered.count, answered.queue_ns),
            stages=answered.stages,
            batches=batches,
        )

    def queue_is(self, samples: int) -> None:
        """Set how many samples wait."""
        if samples != self._queued:
            self._series.queue_samples.inc(samples - self._queued)
            self._queued = samples

    def waited(self, seconds: float) -> None:
        """Count a request whose first run begins."""
        self._series.queue_seconds.observe(seconds)

    def ran(self, samples: int, size: int, stages: Stages) -> None:
        """Count a run of `size` rows, `samples` of them of requests."""
        series = self._series
        series.samples.inc(samples)
        if size > samples:
            series.padding_samples.inc(size - samples)
        series.batch_samples.observe(samples)
        series.run_seconds.observe(stages.run_s)
        with self._lock:
            self._batches.setdefault(size, _Sums()).add(stages)

    def met_nonfinite(self, samples: int) -> None:
        """Count samples whose outputs are not finite, although they should be; on any thread."""
        self._series.nonfinite_outputs.inc(samples)

    def answered(self, samples: int, queue_s: float, stages: Stages, whole_s: float) -> None:
        """Count a request that was answered just now.

        Args:
            queue_s: from its arrival to its first run.
            whole_s: from its arrival to now.
        """
        self._samples_answered += samples
        self._last_answer = time.time()
        self._answered.add(stages, queue_s, whole_s)

    def failed(self, whole_s: float) -> None:
        """Count a request that ended without an answer, `whole_s` after its arrival."""
        self._failed.add(NO_TIME, whole_s=whole_s)

    def end(self) -> None:
        """Count no more: the graph has been unloaded, and nothing waits for it."""
        self.queue_is(0)
