"""The service's metrics: every name, label and bucket that `/metrics` shows.

Children are looked up once and kept: `labels()` costs several times what counting does.
"""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

# 0.5 ms … 30 s: from a lone sample on a fast GPU to the default deadline.
DURATION_BUCKETS_S: Final = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0
)  # fmt: skip
BATCH_BUCKETS_SAMPLES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PROBABILITY_BUCKETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
REJECTION_REASONS: Final = ("queue_full", "max_requests", "quota", "deadline", "cancelled", "draining")
LOAD_RESULTS: Final = ("ready", "refused")
GRAPH_LABELS: Final = ("model", "graph")
PACKAGE_LABELS: Final = ("model", "version")
MOST_NAMED_KEYS: Final = 100
OTHER_KEYS: Final = "other"


class RequestMetrics:
    """Counts requests; only the event loop's thread calls it.

    Args:
        registry: where the three metrics are registered.

    Attributes:
        in_flight: requests being answered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        self._requests = Counter(
            "ganymede_requests", "Requests answered.", labelnames=("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "ganymede_request_duration_seconds",
            "From the first byte read to the last byte handed over.",
            labelnames=("route",),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        in_flight = Gauge("ganymede_requests_in_flight", "Requests being answered.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def begin(self) -> None:
        """Count a request that arrived."""
        self.in_flight += 1

    def end(self, route: str, status: int, seconds: float) -> None:
        """Count a request that ended.

        Args:
            route: template of the route that answered, never the path, which callers choose.
            status: of the answer, or what stands for it where there was none.
            seconds: from its arrival to its end.
        """
        self.in_flight -= 1
        children = self._children.get((route, status))
        if children is None:
            children = self._requests.labels(route, status), self._seconds.labels(route)
            self._children[route, status] = children
        count, duration = children
        count.inc()
        duration.observe(seconds)


@dataclass(frozen=True, slots=True)
class GraphSeries:
    """The series of one graph of one model; the versions of a model share them.

    Attributes:
        samples: computed for callers.
        queue_samples: waiting now. A gauge that several batchers add to: tell it differences.
        queue_seconds: from a request's arrival to its first run.
        batch_samples: in one run, padding left out.
        padding_samples: rows computed only to fill a bucket.
        nonfinite_outputs: samples whose outputs are not finite, by the package's fault.
        run_seconds: of one run.
    """

    samples: Counter
    queue_samples: Gauge
    queue_seconds: Histogram
    batch_samples: Histogram
    padding_samples: Counter
    nonfinite_outputs: Counter
    run_seconds: Histogram


class GraphMetrics:
    """What batchers count.

    Args:
        registry: where the seven metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples = Counter(
            "ganymede_samples", "Samples computed for callers.", labelnames=GRAPH_LABELS, registry=registry
        )
        self._queue_samples = Gauge(
            "ganymede_queue_samples", "Samples waiting for a session.", labelnames=GRAPH_LABELS, registry=registry
        )
        self._queue_seconds = Histogram(
            "ganymede_queue_wait_seconds",
            "How long a chunk of a request waited for a session.",
            labelnames=GRAPH_LABELS,
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self._batch_samples = Histogram(
            "ganymede_batch_samples",
            "Real samples in one session run.",
            labelnames=GRAPH_LABELS,
            buckets=BATCH_BUCKETS_SAMPLES,
            registry=registry,
        )
        self._padding_samples = Counter(
            "ganymede_batch_padding_samples",
            "Rows computed only to fill a bucket.",
            labelnames=GRAPH_LABELS,
            registry=registry,
        )
        self._nonfinite_outputs = Counter(
            "ganymede_nonfinite_outputs",
            "Samples whose outputs are not finite numbers, by the package's fault; their requests are answered 500.",
            labelnames=GRAPH_LABELS,
            registry=registry,
        )
        self._run_seconds = Histogram(
            "ganymede_batch_run_seconds",
            "One session run.",
            labelnames=GRAPH_LABELS,
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )

    def labels(self, model: str, graph: str) -> GraphSeries:
        """Find the series of one graph, at zero the first time; keep what is returned."""
        return GraphSeries(
            samples=self._samples.labels(model, graph),
            queue_samples=self._queue_samples.labels(model, graph),
            queue_seconds=self._queue_seconds.labels(model, graph),
            batch_samples=self._batch_samples.labels(model, graph),
            padding_samples=self._padding_samples.labels(model, graph),
            nonfinite_outputs=self._nonfinite_outputs.labels(model, graph),
            run_seconds=self._run_seconds.labels(model, graph),
        )


class KeyMetrics:
    """Counts by the names of keys, which an operator chooses; for the event loop's thread.

    Names come and go with the file of keys, and a series stays to the end of the process: the first names have series
    of their own, the others one together.

    Args:
        registry: where the two metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ganymede_key_requests", "Requests that came with a key.", labelnames=("key",), registry=registry
        )
        self._samples = Counter(
            "ganymede_key_samples", "Samples that were asked for with a key.", labelnames=("key",), registry=registry
        )
        self._children: dict[str, tuple[Counter, Counter]] = {}

    def answered(self, name: str) -> None:
        """Count a request that ended, by the name of its key."""
        self._of(name)[0].inc()

    def asked(self, name: str, samples: int) -> None:
        """Count samples that are asked for."""
        self._of(name)[1].inc(samples)

    def _of(self, name: str) -> tuple[Counter, Counter]:
        children = self._children.get(name)
        if children is None:
            if len(self._children) >= MOST_NAMED_KEYS and name != OTHER_KEYS:
                return self._of(OTHER_KEYS)
            children = self._requests.labels(name), self._samples.labels(name)
            self._children[name] = children
        return children


class ProcessMetrics:
    """What one service is made of, and what its host grants; of the process that computes, but for `running`.

    Args:
        registry: where the seven metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge(
            "ganymede_processes", "Processes of the service that count, the parent aside.", registry=registry
        )
        self.running.set(1)
        self.configured = Gauge(
            "ganymede_processes_configured", "Processes that there should be, the parent aside.", registry=registry
        )
        self.silent = Gauge(
            "ganymede_processes_silent",
            "Processes whose event loop did not answer in time when the metrics were last read.",
            registry=registry,
        )
        self.lost = Counter("ganymede_processes_lost", "API processes that ended, in whichever way.", registry=registry)
        self.ready = Gauge(
            "ganymede_ready", "1 while every configured model has a version that is ready.", registry=registry
        )
        self.device_unusable = Gauge(
            "ganymede_device_unusable",
            "1 where there is a GPU driver, and CUDA does not work, so that the CPU computes.",
            registry=registry,
        )
        self.memory_limit_bytes = Gauge(
            "ganymede_memory_limit_bytes",
            "Memory that the service may take: its control group's limit, else what the host has.",
            registry=registry,
        )


class DriftMetrics:
    """What the discriminator says of a few samples of the live traffic, by package; `packages/drift.py` writes it.

    Args:
        registry: where the nine metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        by_origin = (*PACKAGE_LABELS, "origin")
        self.samples = Counter(
            "ganymede_drift_samples",
            "Generated samples that were scored in the background; origin is prior or chosen.",
            by_origin,
            registry=registry,
        )
        self.dropped = Counter(
            "ganymede_drift_dropped", "Samples that were to be scored, and found no idle moment.", registry=registry
        )
        self.realness = Gauge(
            "ganymede_drift_realness", "Mean P(real) of the last scored samples.", by_origin, registry=registry
        )
        self.realness_at_export = Gauge(
            "ganymede_drift_realness_at_export",
            "Mean P(real) of what the generator drew at export, by the manifest.",
            PACKAGE_LABELS,
            registry=registry,
        )
        self.stability_index = Gauge(
            "ganymede_drift_population_stability_index",
            "How far the logits of the last scored samples are from those at export; 0 is not at all.",
            by_origin,
            registry=registry,
        )
        self.label_agreement = Gauge(
            "ganymede_drift_label_agreement",
            "Share of the last scored samples that are recognised as the class that was asked for.",
            by_origin,
            registry=registry,
        )
        self.label_accuracy_at_export = Gauge(
            "ganymede_drift_label_accuracy_at_export",
            "Share of held-out real samples that were recognised as their class, by the manifest.",
            PACKAGE_LABELS,
            registry=registry,
        )
        self.modes = Gauge(
            "ganymede_drift_modes",
            "Effective number of classes recognised in the last scored samples: exp of their entropy.",
            by_origin,
            registry=registry,
        )
        self.modes_asked = Gauge(
            "ganymede_drift_modes_asked",
            "Effective number of classes that were asked for in the last scored samples.",
            by_origin,
            registry=registry,
        )


class Telemetry:
    """The service's metrics.

    Args:
        registry: where they are registered; `/metrics` exposes it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self.requests = RequestMetrics(registry)
        self.keys = KeyMetrics(registry)
        self.rejected = Counter(
            "ganymede_rejected",
            "Requests that ended without an answer: queue_full, max_requests, quota, deadline, cancelled, draining.",
            ["reason"],
            registry=registry,
        )
        for reason in REJECTION_REASONS:  # a rate needs its zero
            self.rejected.labels(reason)
        self.graphs = GraphMetrics(registry)
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
            PACKAGE_LABELS,
            registry=registry,
        )
        self.package_refused = Gauge(
            "ganymede_package_refused",
            "1 while a package of the folder is refused, 0 when it is not.",
            PACKAGE_LABELS,
            registry=registry,
        )
        self.package_info = Gauge(
            "ganymede_package_info",
            "1 while a package is ready: the hash of its manifest, and what runs its generator.",
            [*PACKAGE_LABELS, "sha256", "provider", "precision"],
            registry=registry,
        )
        self.package_loads = Counter(
            "ganymede_package_loads", "Packages that were loaded: ready, refused.", ["result"], registry=registry
        )
        for result in LOAD_RESULTS:
            self.package_loads.labels(result)
        self.package_unloads = Counter(
            "ganymede_package_unloads", "Packages that were retired and freed.", registry=registry
        )
        self.package_load_seconds = Gauge(
            "ganymede_package_load_seconds", "From files to ready.", PACKAGE_LABELS, registry=registry
        )
        self.package_on_demand = Gauge(
            "ganymede_package_on_demand",
            "1 while a package is out of memory for the budget alone, so that a request has it loaded.",
            PACKAGE_LABELS,
            registry=registry,
        )
        self.package_memory_bytes = Gauge(
            "ganymede_package_memory_bytes",
            "Memory that a package takes while it is loaded, as its loading showed; 0 while it is not.",
            PACKAGE_LABELS,
            registry=registry,
        )
        self.memory_budget_bytes = Gauge(
            "ganymede_memory_budget_bytes",
            "Memory that all packages may take together; 0 is no limit.",
            registry=registry,
        )
        self.package_evictions = Counter(
            "ganymede_package_evictions", "Packages that were unloaded to make room for another.", registry=registry
        )
        self.package_loads_deferred = Counter(
            "ganymede_package_loads_deferred",
            "Loads on demand that had to wait, since packages take turns in memory too often.",
            registry=registry,
        )
        self.storage_unread_seconds = Gauge(
            "ganymede_storage_unread_seconds", "For how long object storage cannot be listed.", registry=registry
        )
        self.storage_errors = Counter("ganymede_storage_errors", "Listings and fetches that failed.", registry=registry)
        self.log_lines_dropped = Counter(
            "ganymede_log_lines_dropped",
            "Log lines that could not be written: a full disk, a reader that left.",
            registry=registry,
        )
        self.build = Gauge(
            "ganymede_build_info", "Always 1; the versions are labels.", ["version", "onnxruntime"], registry=registry
        )
        self.processes = ProcessMetrics(registry)
        self.drift = DriftMetrics(registry)
