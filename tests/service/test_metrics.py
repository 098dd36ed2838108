"""`/metrics` keeps its names, labels and buckets: dashboards and alerts are written against them."""

import pytest
from prometheus_client import CollectorRegistry

from service.engine.batching.stats import Meter
from service.engine.statistics import Stages
from service.metrics import MOST_NAMED_KEYS, Telemetry

DURATIONS = (
    "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0",
    "30.0", "+Inf",
)  # fmt: skip
BATCHES = ("1.0", "2.0", "4.0", "8.0", "16.0", "32.0", "64.0", "128.0", "256.0", "+Inf")
PROBABILITIES = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "+Inf")
GRAPH = ("model", "graph")
PACKAGE = ("model", "version")
ORIGIN = (*PACKAGE, "origin")
# In the order of the page: name, type, labels, buckets.
FAMILIES = [
    ("ganymede_requests", "counter", ("route", "status"), ()),
    ("ganymede_request_duration_seconds", "histogram", ("route",), DURATIONS),
    ("ganymede_requests_in_flight", "gauge", (), ()),
    ("ganymede_key_requests", "counter", ("key",), ()),
    ("ganymede_key_samples", "counter", ("key",), ()),
    ("ganymede_rejected", "counter", ("reason",), ()),
    ("ganymede_samples", "counter", GRAPH, ()),
    ("ganymede_queue_samples", "gauge", GRAPH, ()),
    ("ganymede_queue_wait_seconds", "histogram", GRAPH, DURATIONS),
    ("ganymede_batch_samples", "histogram", GRAPH, BATCHES),
    ("ganymede_batch_padding_samples", "counter", GRAPH, ()),
    ("ganymede_nonfinite_outputs", "counter", GRAPH, ()),
    ("ganymede_batch_run_seconds", "histogram", GRAPH, DURATIONS),
    ("ganymede_encode_seconds", "histogram", ("format",), DURATIONS),
    ("ganymede_generated_probability", "histogram", ("model",), PROBABILITIES),
    ("ganymede_scored_probability", "histogram", ("model",), PROBABILITIES),
    ("ganymede_package_ready", "gauge", ("model", "version"), ()),
    ("ganymede_package_refused", "gauge", PACKAGE, ()),
    ("ganymede_package_info", "gauge", (*PACKAGE, "sha256", "provider", "precision"), ()),
    ("ganymede_package_loads", "counter", ("result",), ()),
    ("ganymede_package_unloads", "counter", (), ()),
    ("ganymede_package_load_seconds", "gauge", ("model", "version"), ()),
    ("ganymede_package_on_demand", "gauge", PACKAGE, ()),
    ("ganymede_package_memory_bytes", "gauge", PACKAGE, ()),
    ("ganymede_memory_budget_bytes", "gauge", (), ()),
    ("ganymede_package_evictions", "counter", (), ()),
    ("ganymede_package_loads_deferred", "counter", (), ()),
    ("ganymede_storage_unread_seconds", "gauge", (), ()),
    ("ganymede_storage_errors", "counter", (), ()),
    ("ganymede_log_lines_dropped", "counter", (), ()),
    ("ganymede_build_info", "gauge", ("version", "onnxruntime"), ()),
    ("ganymede_processes", "gauge", (), ()),
    ("ganymede_processes_configured", "gauge", (), ()),
    ("ganymede_processes_silent", "gauge", (), ()),
    ("ganymede_processes_lost", "counter", (), ()),
    ("ganymede_ready", "gauge", (), ()),
    ("ganymede_device_unusable", "gauge", (), ()),
    ("ganymede_memory_limit_bytes", "gauge", (), ()),
    ("ganymede_drift_samples", "counter", ORIGIN, ()),
    ("ganymede_drift_dropped", "counter", (), ()),
    ("ganymede_drift_realness", "gauge", ORIGIN, ()),
    ("ganymede_drift_realness_at_export", "gauge", PACKAGE, ()),
    ("ganymede_drift_population_stability_index", "gauge", ORIGIN, ()),
    ("ganymede_drift_label_agreement", "gauge", ORIGIN, ()),
    ("ganymede_drift_label_accuracy_at_export", "gauge", PACKAGE, ()),
    ("ganymede_drift_modes", "gauge", ORIGIN, ()),
    ("ganymede_drift_modes_asked", "gauge", ORIGIN, ()),
]
SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
}


class Counted:
    """Metrics in which every series has counted something."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry)
        self.meters = [Meter(self.telemetry, "toy", "generator") for _ in range(2)]
        telemetry = self.telemetry
        for route, status, seconds in (("/generate", 200, 0.01), ("/score", 422, 31.0), ("/generate", 429, 0.0005)):
            telemetry.requests.begin()
            telemetry.requests.end(route, status, seconds)
        telemetry.keys.answered("alice")
        telemetry.keys.asked("alice", 3)
        for meter in self.meters:
            meter.waited(0.003)
            meter.ran(3, 4, Stages(0.1, 0.25, 0.1))
        for histogram, label in (
            (telemetry.encode_seconds, "png"),
            (telemetry.generated_probability, "toy"),
            (telemetry.scored_probability, "toy"),
        ):
            histogram.labels(label).observe(0.5)
        telemetry.package_ready.labels("toy", "1").set(1)
        telemetry.package_load_seconds.labels("toy", "1").set(0.5)
        telemetry.package_refused.labels("toy", "1").set(0)
        telemetry.package_on_demand.labels("toy", "1").set(0)
        telemetry.package_memory_bytes.labels("toy", "1").set(1e6)
        telemetry.package_info.labels("toy", "1", "abc", "CPUExecutionProvider", "fp32").set(1)
        drift = telemetry.drift
        for at_export in (drift.realness_at_export, drift.label_accuracy_at_export):
            at_export.labels("toy", "1").set(0.5)
        for gauge in (drift.realness, drift.stability_index, drift.label_agreement, drift.modes, drift.modes_asked):
            gauge.labels("toy", "1", "prior").set(0.5)
        drift.samples.labels("toy", "1", "prior").inc()
        telemetry.build.labels("1.2.3", "1.0").set(1)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_every_family_is_named_before_it_has_series() -> None:
    registry = CollectorRegistry()
    Telemetry(registry)
    named = [(family.name, family.type) for family in registry.collect() if family.name.startswith("ganymede_")]
    assert named == [(name, kind) for name, kind, *_ in FAMILIES]


def test_families_labels_and_buckets_are_those_that_dashboards_know(counted: Counted) -> None:
    families = [family for family in counted.registry.collect() if family.name.startswith("ganymede_")]
    for family, (name, kind, labels, buckets) in zip(families, FAMILIES, strict=True):
        assert (family.name, family.type) == (name, kind)
        assert family.documentation
        assert {sample.name for sample in family.samples} == {name + suffix for suffix in SUFFIXES[kind]}
        shown: dict[tuple[str, ...], list[str]] = {}
        for sample in family.samples:
            le = ("le",) if sample.name.endswith("_bucket") else ()
            assert set(sample.labels) == {*labels, *le}
            if le:
                shown.setdefault(tuple(sample.labels[label] for label in labels), []).append(sample.labels["le"])
        assert all(tuple(each) == buckets for each in shown.values())
        assert bool(shown) == bool(buckets)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        (
            "ganymede_rejected_total",
            {"reason": ("queue_full", "max_requests", "quota", "deadline", "cancelled", "draining")},
        ),
        ("ganymede_package_loads_total", {"result": ("ready", "refused")}),
    ],
)
def test_what_may_never_happen_is_shown_as_zero(
    counted: Counted, name: str, reasons: dict[str, tuple[str, ...]]
) -> None:
    ((label, values),) = reasons.items()
    assert [counted.value(name, **{label: value}) for value in values] == [0.0] * len(values)


def test_keys_beyond_the_most_that_are_named_have_one_series_together(counted: Counted) -> None:
    for number in range(2 * MOST_NAMED_KEYS):
        counted.telemetry.keys.answered(f"key{number}")
    counted.telemetry.keys.asked("key150", 7)
    (series,) = [family.samples for family in counted.registry.collect() if family.name == "ganymede_key_requests"]
    assert len([each for each in series if each.name.endswith("_total")]) == MOST_NAMED_KEYS + 1
    assert counted.value("ganymede_key_requests_total", key="alice") == 1
    assert counted.value("ganymede_key_requests_total", key="other") == MOST_NAMED_KEYS + 1
    assert counted.value("ganymede_key_samples_total", key="other") == 7


def test_requests_are_counted_by_route_and_status_and_timed_by_route(counted: Counted) -> None:
    for route, status in (("/generate", "200"), ("/generate", "429"), ("/score", "422")):
        assert counted.value("ganymede_requests_total", route=route, status=status) == 1
    assert counted.value("ganymede_request_duration_seconds_count", route="/generate") == 2
    assert counted.value("ganymede_request_duration_seconds_sum", route="/generate") == 0.0105
    assert counted.value("ganymede_request_duration_seconds_bucket", route="/generate", le="0.0005") == 1
    assert counted.value("ganymede_request_duration_seconds_bucket", route="/score", le="30.0") == 0
    assert counted.value("ganymede_requests_in_flight") == 0
    counted.telemetry.requests.begin()
    assert counted.value("ganymede_requests_in_flight") == 1


def test_a_graph_shows_zeros_from_the_moment_it_is_loaded(counted: Counted) -> None:
    Meter(counted.telemetry, "other", "encoder")
    for name in ("samples_total", "queue_samples", "batch_padding_samples_total", "nonfinite_outputs_total"):
        assert counted.value(f"ganymede_{name}", model="other", graph="encoder") == 0
    for name in ("queue_wait_seconds", "batch_samples", "batch_run_seconds"):
        assert counted.value(f"ganymede_{name}_count", model="other", graph="encoder") == 0


def test_two_versions_of_a_model_share_their_series_and_none_falls_when_one_has_ended(counted: Counted) -> None:
    labels = {"model": "toy", "graph": "generator"}
    old, new = counted.meters
    old.queue_is(2)
    new.queue_is(5)
    new.met_nonfinite(2)
    assert counted.value("ganymede_queue_samples", **labels) == 7
    for ended in (False, True):
        if ended:
            old.end()
        assert counted.value("ganymede_samples_total", **labels) == 6
        assert counted.value("ganymede_batch_padding_samples_total", **labels) == 2
        assert counted.value("ganymede_nonfinite_outputs_total", **labels) == 2
        assert counted.value("ganymede_batch_run_seconds_count", **labels) == 2
        assert counted.value("ganymede_batch_run_seconds_sum", **labels) == 0.5
    assert counted.value("ganymede_queue_samples", **labels) == 5
