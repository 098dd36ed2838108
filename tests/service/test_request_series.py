"""The series of requests are what the client library's own instruments would write."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.metrics import RequestSeries

DURATIONS_S = (0.0005, 0.01, 1.0, 30.0)


class Own:
    """The client library's instruments of the same names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("ganymede_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "ganymede_request_duration_seconds",
            "From the first byte read to the last byte handed over.",
            ["route"],
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge("ganymede_requests_in_flight", "Requests being answered.", registry=self.registry)


def written(registry: CollectorRegistry) -> list[str]:
    """The exposition, without the times at which series began."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(re.sub(r"(_created\{.*\}) .*", r"\1", line) for line in lines)


ended = st.tuples(st.sampled_from(["/generate", "/score", "none"]), st.sampled_from([200, 422, 499]), st.floats(0, 60))


@given(requests=st.lists(ended, max_size=30), waiting=st.integers(0, 9))
def test_what_is_written_is_what_the_client_library_would_write(
    requests: list[tuple[str, int, float]], waiting: int
) -> None:
    registry, own, series = CollectorRegistry(), Own(), RequestSeries(DURATIONS_S)
    registry.register(series)
    for _ in range(waiting):
        series.begin()
        own.in_flight.inc()
    for route, status, seconds in requests:
        series.begin()
        series.end(route, status, seconds)
        own.requests.labels(route, status).inc()
        own.seconds.labels(route).observe(seconds)
    assert written(registry) == written(own.registry)
