"""The metrics of requests: counted in plain numbers, written as series when somebody asks.

    the event loop's thread ──begin, end──▶ RequestSeries.collect ──▶ /metrics

Of a small request, counting by the client library's instruments was a twentieth. Labels come from closed sets: route
templates and status codes.
"""

import time
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from service.distribution import Distribution


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
        return iter(_Families().all)

    def collect(self) -> Iterator[Metric]:
        """Write the series."""
        families = _Families()
        families.in_flight.add_metric((), self.in_flight)
        for route, counts in list(self._routes.items()):
            for status, answers in list(counts.answers.items()):
                families.requests.add_metric((route, str(status)), answers.count, created=answers.since)
            families.seconds.add_metric((route,), counts.seconds.buckets, counts.seconds.total)
            families.seconds.add_sample(f"{families.seconds.name}_created", {"route": route}, counts.since)
        return iter(families.all)


class _Families:
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
