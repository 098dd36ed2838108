"""The metrics of many processes as if they were one's: written by each, added up by whoever is asked.

    registry ──snapshot──▶ text ──▶ ┐
    registry ──snapshot──▶ text ──▶ ├─ Sum ──▶ /metrics
    a process that has ended ─────▶ ┘  (what only grows)

Counters and histograms add up, and so do gauges, since each says of its process how much there is. What a process says
of a fact (its version, when it began) is not added. What a process counted before it ended is kept, so that no counter
ever falls, which Prometheus would take for a restart; its gauges go with it.

It stands apart from `telemetry.py` because one process needs none of it. The client library's own multiprocess mode
writes every count to a mapped file, cannot take a series away, and leaves the process's own figures out.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

# Facts and times: of many, the earliest or smallest is the service's.
_NOT_ADDED: Final = frozenset({"ganymede_build_info", "process_start_time_seconds", "process_max_fds"})
_TIME_SUFFIX: Final = "_created"

_Series = tuple[str, tuple[tuple[str, str], ...]]


def snapshot(registry: CollectorRegistry) -> str:
    """Write down every series of a registry, for `Sum`."""
    return json.dumps(
        [
            (
                family.name,
                family.documentation,
                family.type,
                family.unit,
                [(sample.name, list(sample.labels.items()), sample.value) for sample in family.samples],
            )
            for family in registry.collect()
        ]
    )


class Sum(Collector):
    """Snapshots added up; register it to have them written like any other metrics.

    Args:
        living: of processes that are there.
        ended: of processes that are no more.
    """

    def __init__(self, living: Iterable[str], ended: Iterable[str] = ()) -> None:
        self._families: dict[str, tuple[str, str, str]] = {}
        self._values: dict[str, dict[_Series, float]] = {}
        for text in living:
            self._add(text)
        for text in ended:
            self._add(text, without="gauge")

    def collect(self) -> Iterator[Metric]:
        """Answer the sum of each series."""
        for name, (documentation, kind, unit) in self._families.items():
            family = Metric(name, documentation, kind, unit)
            for (sample, labels), value in self._values[name].items():
                family.add_sample(sample, dict(labels), value)
            yield family

    def _add(self, text: str, without: str = "") -> None:
        for name, documentation, kind, unit, samples in json.loads(text):
            if kind == without:
                continue
            self._families.setdefault(name, (documentation, kind, unit))
            values = self._values.setdefault(name, {})
            for sample, labels, value in samples:
                series = sample, tuple((label, of) for label, of in labels)
                before = values.get(series)
                values[series] = value if before is None else _joined(sample, before, value)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Answer a registry of one collector, as the client library's writers want it."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _joined(sample: str, one: float, other: float) -> float:
    if sample in _NOT_ADDED or sample.endswith(_TIME_SUFFIX):
        return min(one, other)
    return one + other
