"""A histogram in plain numbers, for those who count too often for an instrument of the client library.

Such an instrument takes a lock and three calls for every count. Here whoever counts has a lock already, or is the only
thread; a reader may see one observation half counted, and never a number fall.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Distribution:
    """A histogram.

    Args:
        bounds: upper ones, ascending; the last bucket, which has none, is added.

    Attributes:
        counts: of each bucket for itself.
        total: of all that was observed.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def add(self, other: "Distribution") -> None:
        """Add all that another one counted."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """(bound, values up to it), as they are exposed."""
        up_to = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*(str(float(bound)) for bound in self._bounds), "+Inf"), self.counts, strict=True):
            up_to += count
            buckets.append((bound, up_to))
        return buckets


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
        return iter(_GraphFamilies().all)

    def collect(self) -> Iterator[Metric]:
        """Write the series."""
        families = _GraphFamilies()
        for labels, graph in list(self._graphs.items()):
            counts = self._zeros()
            for each in (graph.ended, *graph.living):
                counts.add(each)
            families.add(labels, counts, graph.since)
        return iter(families.all)

    def _zeros(self) -> GraphCounts:
        return GraphCounts(self._durations_s, self._batches)


class _GraphFamilies:
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


class _Answers:
    """The requests of one route that had one status."""

    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.count = 0
        self.since = time.time()


class _Route:
    """What was answered by one route."""

    __slots__ = ("answers", "seconds", "since")

    def __init__(self, durations_s: Sequence[float]) -> None:
        self.answers: dict[int, _Answers] = {}
        self.seconds = Distribution(durations_s)
        self.since = time.time()


class RequestSeries(Collector):
    """The series; register it once. One thread counts.

    Args:
        durations_s: bounds of the histogram of durations.

    Attributes:
        in_flight: requests being answered.
    """

    def __init__(self, durations_s: Sequence[float]) -> None:
        self.in_flight = 0
        self._durations_s = durations_s
        self._routes: dict[str, _Route] = {}

    def begin(self) -> None:
        """Count a request that arrived."""
        self.in_flight += 1

    def end(self, route: str, status: int, seconds: float) -> None:
        """Count a request that ended.

        Args:
            route: template of the route that answered.
            status: what the answer amounted to.
            seconds: from its arrival to its end.
        """
        self.in_flight -= 1
        counts = self._routes.get(route)
        if counts is None:
            counts = self._routes[route] = _Route(self._durations_s)
        answers = counts.answers.get(status)
        if answers is None:
            answers = counts.answers[status] = _Answers()
        answers.count += 1
        counts.seconds.observe(seconds)

    def describe(self) -> Iterator[Metric]:
        """Name the series, before there are any."""
        return iter(_RequestFamilies().all)

    def collect(self) -> Iterator[Metric]:
        """Write the series."""
        families = _RequestFamilies()
        families.in_flight.add_metric((), self.in_flight)
        for route, counts in list(self._routes.items()):
            for status, answers in list(counts.answers.items()):
                families.requests.add_metric((route, str(status)), answers.count, created=answers.since)
            families.seconds.add_metric((route,), counts.seconds.buckets, counts.seconds.total)
            families.seconds.add_sample(f"{families.seconds.name}_created", {"route": route}, counts.since)
        return iter(families.all)


class _RequestFamilies:
    """The three metrics."""

    def __init__(self) -> None:
        self.requests = CounterMetricFamily("ganymede_requests", "Requests answered.", labels=("route", "status"))
        self.seconds = HistogramMetricFamily(
            "ganymede_request_duration_seconds",
            "From the first byte read to the last byte handed over.",
            labels=("route",),
        )
        self.in_flight = GaugeMetricFamily("ganymede_requests_in_flight", "Requests being answered.", labels=())

    @property
    def all(self) -> list[Metric]:
        return [self.requests, self.seconds, self.in_flight]


# 0.5 ms … 30 s: from a lone sample on a fast GPU to the default deadline.
DURATION_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0
)  # fmt: skip
BATCH_BUCKETS_SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REJECTION_REASONS = ("queue_full", "deadline", "cancelled", "draining")
PROBABILITY_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Telemetry:
    """The service's instruments.

    Args:
        registry: where they are registered; `/metrics` exposes it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self.requests = RequestSeries(DURATION_BUCKETS_S)
        registry.register(self.requests)
        self.rejected = Counter(
            "ganymede_rejected",
            "Requests that ended without an answer: queue_full, deadline, cancelled, draining.",
            ["reason"],
            registry=registry,
        )
        for reason in REJECTION_REASONS:  # a rate needs its zero
            self.rejected.labels(reason)
        self.graphs = GraphSeries(DURATION_BUCKETS_S, BATCH_BUCKETS_SAMPLES)
        registry.register(self.graphs)
        self.encode_seconds = Histogram(
            "ganymede_encode_seconds",
            "Writing one answer's media.",
            ["format"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.generated_probability = Histogram(
            "ganymede_generated_probability",
            "Calibrated P(real) of generated samples, where scores were asked for: a drift alarm.",
            ["model"],
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self.scored_probability = Histogram(
            "ganymede_scored_probability",
            "Calibrated P(real) that /score answered.",
            ["model"],
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self.package_ready = Gauge(
            "ganymede_package_ready",
            "1 when the package is golden-checked and warm, 0 when it is loading, refused or unloaded.",
            ["model", "version"],
            registry=registry,
        )
        self.package_loads = Counter(
            "ganymede_package_loads", "Packages that were loaded: ready, refused.", ["result"], registry=registry
        )
        for result in ("ready", "refused"):
            self.package_loads.labels(result)
        self.package_unloads = Counter(
            "ganymede_package_unloads", "Packages that were retired and freed.", registry=registry
        )
        self.package_load_seconds = Gauge(
            "ganymede_package_load_seconds", "From files to ready.", ["model", "version"], registry=registry
        )
        self.log_lines_dropped = Counter(
            "ganymede_log_lines_dropped",
            "Log lines that could not be written: a full disk, a reader that left.",
            registry=registry,
        )
        self.build = Gauge(
            "ganymede_build_info", "Always 1; the versions are labels.", ["version", "onnxruntime"], registry=registry
        )
