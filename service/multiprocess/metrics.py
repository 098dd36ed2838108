"""The metrics of several processes, added up as if they were one's.

    registry ──snapshot──▶ text ──▶ ┐
    registry ──snapshot──▶ text ──▶ ├─ SummedMetrics ──▶ /metrics
    a process that has ended ─────▶ ┘  (counters and histograms only)

Counters, histograms and gauges add up; facts (a version, a start time) do not. What a process counted before it ended
is kept, since Prometheus takes a counter that falls for a restart; its gauges are dropped. The client library's own
multiprocess mode writes every count to a mapped file, cannot remove a series, and leaves the process's figures out.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

# Facts and times: the smallest of all processes is shown.
_NOT_ADDED: Final = frozenset({"ganymede_build_info", "process_start_time_seconds", "process_max_fds"})
_TIME_SUFFIX: Final = "_created"

_Series = tuple[str, tuple[tuple[str, str], ...]]


def snapshot(registry: CollectorRegistry) -> str:
    """Write every series of a registry as text, for `SummedMetrics`."""
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


class SummedMetrics(Collector):
    """Snapshots added up; register it to have them exposed like any other metrics.

    Args:
        living: snapshots of running processes.
        ended: snapshots of processes that have ended, whose gauges are left out.
    """

    def __init__(self, living: Iterable[str], ended: Iterable[str] = ()) -> None:
        self._families: dict[str, tuple[str, str, str]] = {}
        self._values: dict[str, dict[_Series, float]] = {}
        for text in living:
            self._add(text)
        for text in ended:
            self._add(text, without="gauge")

    def collect(self) -> Iterator[Metric]:
        """Yield the sum of each series."""
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
                values[series] = value if before is None else _sum(sample, before, value)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Make a registry of one collector, which the client library's writers ask for."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _sum(sample: str, one: float, other: float) -> float:
    if sample in _NOT_ADDED or sample.endswith(_TIME_SUFFIX):
        return min(one, other)
    return one + other
