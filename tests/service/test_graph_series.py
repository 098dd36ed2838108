"""The series of graphs are what the client library's own instruments would write, whoever counted and whenever."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.metrics import GraphCounts, GraphSeries

DURATIONS_S = (0.0005, 0.01, 1.0, 30.0)
BATCHES = (1, 2, 64)
LABELS = ("model", "graph")


class Own:
    """The client library's instruments of the same names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, words, LABELS, buckets=buckets, registry=self.registry)

        self.samples = Counter("ganymede_samples", "Samples computed for callers.", LABELS, registry=self.registry)
        self.queue = Gauge("ganymede_queue_samples", "Samples waiting for a session.", LABELS, registry=self.registry)
        self.queue_seconds = histogram(
            "ganymede_queue_wait_seconds", "How long a chunk of a request waited for a session.", DURATIONS_S
        )
        self.batch_samples = histogram("ganymede_batch_samples", "Real samples in one session run.", BATCHES)
        self.padding = Counter(
            "ganymede_batch_padding_samples", "Rows computed only to fill a bucket.", LABELS, registry=self.registry
        )
        self.nonfinite = Counter(
            "ganymede_nonfinite_outputs",
            "Samples whose outputs are not finite numbers, by the package's fault; their requests are answered 500.",
            LABELS,
            registry=self.registry,
        )
        self.run_seconds = histogram("ganymede_batch_run_seconds", "One session run.", DURATIONS_S)


def written(registry: CollectorRegistry) -> list[str]:
    """The exposition, without the times at which series began."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(re.sub(r"(_created\{.*\}) .*", r"\1", line) for line in lines)


def some_series() -> tuple[CollectorRegistry, GraphSeries]:
    registry = CollectorRegistry()
    series = GraphSeries(DURATIONS_S, BATCHES)
    registry.register(series)
    return registry, series


runs = st.lists(st.tuples(st.integers(1, 70), st.integers(0, 9), st.floats(0, 60), st.floats(0, 60)), max_size=20)


@given(made=st.dictionaries(st.sampled_from(["a", "b"]), st.tuples(runs, st.integers(0, 9)), min_size=1))
def test_what_is_written_is_what_the_client_library_would_write(
    made: dict[str, tuple[list[tuple[int, int, float, float]], int]],
) -> None:
    registry, series = some_series()
    own = Own()
    for model, (of_model, waiting) in made.items():
        labels = model, "generator"
        counts = series.open(*labels)
        counts.queue_samples = waiting
        own.queue.labels(*labels).set(waiting)
        for instrument in (
            own.samples, own.padding, own.nonfinite, own.queue_seconds, own.batch_samples, own.run_seconds
        ):  # fmt: skip
            instrument.labels(*labels)
        for samples, padding, queue_s, run_s in of_model:
            count(counts, samples, padding, queue_s, run_s)
            own.samples.labels(*labels).inc(samples)
            own.padding.labels(*labels).inc(padding)
            own.queue_seconds.labels(*labels).observe(queue_s)
            own.batch_samples.labels(*labels).observe(samples)
            own.run_seconds.labels(*labels).observe(run_s)
    assert written(registry) == written(own.registry)


def count(counts: GraphCounts, samples: int, padding: int, queue_s: float, run_s: float) -> None:
    counts.samples += samples
    counts.padding_samples += padding
    counts.queue_seconds.observe(queue_s)
    counts.batch_samples.observe(samples)
    counts.run_seconds.observe(run_s)


def test_before_any_graph_is_loaded_the_metrics_are_named() -> None:
    assert written(some_series()[0]) == written(Own().registry)


def test_two_versions_of_a_model_share_their_series_and_none_falls_when_one_has_ended() -> None:
    registry, series = some_series()
    old, new = series.open("a", "generator"), series.open("a", "generator")
    labels = {"model": "a", "graph": "generator"}
    for counts in (old, new):
        count(counts, 3, 1, 0.02, 0.02)
    old.queue_samples, new.queue_samples = 2, 5
    assert registry.get_sample_value("ganymede_queue_samples", labels) == 7
    for _ in range(2):
        assert registry.get_sample_value("ganymede_samples_total", labels) == 6
        assert registry.get_sample_value("ganymede_batch_run_seconds_count", labels) == 2
        assert registry.get_sample_value("ganymede_batch_run_seconds_sum", labels) == 0.04
        if old.queue_samples:
            series.close("a", "generator", old)
    assert registry.get_sample_value("ganymede_queue_samples", labels) == 5
