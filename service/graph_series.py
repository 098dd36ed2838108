"""The metrics of every graph's queue and runs: counted in plain numbers, written as series when somebody asks.

    a batcher's threads ──count──▶ GraphCounts ─┐
    another's, of the same model's next version ─┼─▶ GraphSeries.collect ──▶ /metrics
    those of batchers that have ended, added up ─┘

By the client library's own instruments, ten counts a request took more than all of its batching. It knows nothing of
what is counted but how.
"""

import time
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from service.distribution import Distribution

_LABELS = ("model", "graph")


class GraphCounts:
    """What one batcher counts.

    Args:
        durations_s: bounds of the histograms of durations.
        batches: of those of batches, in samples.

    Attributes:
        queue_samples: that wait now.
        samples: computed for callers.
        padding_samples: rows computed only to fill a bucket.
        nonfinite_outputs: samples whose outputs are not finite, by the package's fault.
        queue_seconds: from a request's arrival to its first run.
        batch_samples: in one run, padding left out.
        run_seconds: of one run.
    """

    __slots__ = (
        "batch_samples", "nonfinite_outputs", "padding_samples", "queue_samples", "queue_seconds", "run_seconds",
        "samples",
    )  # fmt: skip

    def __init__(self, durations_s: Sequence[float], batches: Sequence[float]) -> None:
        self.queue_samples = 0
        self.samples = 0
        self.padding_samples = 0
        self.nonfinite_outputs = 0
        self.queue_seconds = Distribution(durations_s)
        self.batch_samples = Distribution(batches)
        self.run_seconds = Distribution(durations_s)

    def add(self, other: "GraphCounts") -> None:
        """Add all that another batcher counted."""
        self.queue_samples += other.queue_samples
        self.samples += other.samples
        self.padding_samples += other.padding_samples
        self.nonfinite_outputs += other.nonfinite_outputs
        self.queue_seconds.add(other.queue_seconds)
        self.batch_samples.add(other.batch_samples)
        self.run_seconds.add(other.run_seconds)


class _Graph:
    """All the batchers that one graph of one model ever had."""

    def __init__(self, ended: GraphCounts) -> None:
        self.since = time.time()
        self.ended = ended
        self.living: list[GraphCounts] = []


class GraphSeries(Collector):
    """The series; register it once.

    Args:
        durations_s: bounds of the histograms of durations.
        batches: of those of batches, in samples.
    """

    def __init__(self, durations_s: Sequence[float], batches: Sequence[float]) -> None:
        self._durations_s = durations_s
        self._batches = batches
        self._graphs: dict[tuple[str, str], _Graph] = {}

    def open(self, model: str, graph: str) -> GraphCounts:
        """Begin to count for a batcher; two versions of a model share their series."""
        counts = self._zeros()
        self._graphs.setdefault((model, graph), _Graph(self._zeros())).living.append(counts)
        return counts

    def close(self, model: str, graph: str, counts: GraphCounts) -> None:
        """Keep what a batcher counted that has ended: nothing waits for it any more."""
        series = self._graphs[model, graph]
        series.living.remove(counts)
        counts.queue_samples = 0
        series.ended.add(counts)

    def describe(self) -> Iterator[Metric]:
        """Name the series, before there are any."""
        return iter(_Families().all)

    def collect(self) -> Iterator[Metric]:
        """Write the series."""
        families = _Families()
        for labels, graph in list(self._graphs.items()):
            counts = self._zeros()
            for each in (graph.ended, *graph.living):
                counts.add(each)
            families.add(labels, counts, graph.since)
        return iter(families.all)

    def _zeros(self) -> GraphCounts:
        return GraphCounts(self._durations_s, self._batches)


class _Families:
    """The seven metrics."""

    def __init__(self) -> None:
        self.samples = CounterMetricFamily("ganymede_samples", "Samples computed for callers.", labels=_LABELS)
        self.queue = GaugeMetricFamily("ganymede_queue_samples", "Samples waiting for a session.", labels=_LABELS)
        self.queue_seconds = HistogramMetricFamily(
            "ganymede_queue_wait_seconds", "How long a chunk of a request waited for a session.", labels=_LABELS
        )
        self.batch_samples = HistogramMetricFamily(
            "ganymede_batch_samples", "Real samples in one session run.", labels=_LABELS
        )
        self.padding = CounterMetricFamily(
            "ganymede_batch_padding_samples", "Rows computed only to fill a bucket.", labels=_LABELS
        )
        self.nonfinite = CounterMetricFamily(
            "ganymede_nonfinite_outputs",
            "Samples whose outputs are not finite numbers, by the package's fault; their requests are answered 500.",
            labels=_LABELS,
        )
        self.run_seconds = HistogramMetricFamily("ganymede_batch_run_seconds", "One session run.", labels=_LABELS)

    @property
    def all(self) -> list[Metric]:
        return [
            self.samples,
            self.queue,
            self.queue_seconds,
            self.batch_samples,
            self.padding,
            self.nonfinite,
            self.run_seconds,
        ]

    def add(self, labels: tuple[str, str], counts: GraphCounts, since: float) -> None:
        """Add one graph's series, which began at a time in seconds since 1970."""
        self.samples.add_metric(labels, counts.samples, created=since)
        self.queue.add_metric(labels, counts.queue_samples)
        self.padding.add_metric(labels, counts.padding_samples, created=since)
        self.nonfinite.add_metric(labels, counts.nonfinite_outputs, created=since)
        histograms = (
            (self.queue_seconds, counts.queue_seconds),
            (self.batch_samples, counts.batch_samples),
            (self.run_seconds, counts.run_seconds),
        )
        for family, distribution in histograms:
            family.add_metric(labels, distribution.buckets, distribution.total)
            family.add_sample(f"{family.name}_created", dict(zip(_LABELS, labels, strict=True)), since)
