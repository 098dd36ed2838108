"""Metrics: every series the service exposes, in one registry that is handed in, never global.

The registry is a constructor argument so that several apps can live in one process (tests, Ray replicas). Labels
come from closed sets only: loaded package names, graph kinds, route templates, status codes, reasons and media
formats; never a path, a seed, a client or a request id. Durations are seconds in 1-2-5 buckets, taken from a
monotonic clock inside one process.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.graph_series import GraphSeries
from service.request_series import RequestSeries

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
