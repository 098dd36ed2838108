"""Metrics of several processes, shown as one service's."""

from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Telemetry
from service.multiprocess.metrics import SummedMetrics, registry_of, snapshot


class Process:
    """What one process counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry)

    def answer(self, route: str, times: int, seconds: float) -> None:
        for _ in range(times):
            self.telemetry.requests.begin()
            self.telemetry.requests.end(route, 200, seconds)

    def snapshot(self) -> str:
        return snapshot(self.registry)


def shown(*living: str, ended: tuple[str, ...] = ()) -> CollectorRegistry:
    return registry_of(SummedMetrics(living, ended))


def test_what_one_process_shows_is_what_a_sum_of_one_shows() -> None:
    process = Process()
    process.answer("/generate", 3, 0.02)
    process.telemetry.package_ready.labels("toy", "1").set(1)
    own, summed = (generate_latest(registry).splitlines() for registry in (process.registry, shown(process.snapshot())))
    of_the_process = b"process_"  # which has lived on between the two looks
    assert [line for line in summed if of_the_process not in line] == [
        line for line in own if of_the_process not in line
    ]


def test_counters_histograms_and_gauges_of_processes_add_up_series_by_series() -> None:
    one, other = Process(), Process()
    one.answer("/generate", 3, 0.0003)
    other.answer("/generate", 4, 3.0)
    other.answer("/score", 1, 3.0)
    one.telemetry.requests.in_flight = 2
    other.telemetry.requests.in_flight = 5
    registry = shown(one.snapshot(), other.snapshot())
    value = registry.get_sample_value
    assert value("ganymede_requests_total", {"route": "/generate", "status": "200"}) == 7
    assert value("ganymede_requests_total", {"route": "/score", "status": "200"}) == 1
    assert value("ganymede_request_duration_seconds_count", {"route": "/generate"}) == 7
    bucket = {"route": "/generate", "le": "0.0005"}
    assert value("ganymede_request_duration_seconds_bucket", bucket) == 3
    assert value("ganymede_requests_in_flight") == 7


def test_facts_are_not_added() -> None:
    one, other = Process(), Process()
    for process in (one, other):
        process.telemetry.build.labels("1.2.3", "1.0").set(1)
    value = shown(one.snapshot(), other.snapshot()).get_sample_value
    assert value("ganymede_build_info", {"version": "1.2.3", "onnxruntime": "1.0"}) == 1
    began = one.registry.get_sample_value("process_start_time_seconds")
    assert value("process_start_time_seconds") == began
    assert value("process_max_fds") == one.registry.get_sample_value("process_max_fds")


def test_what_an_ended_process_counted_stays_and_its_gauges_go() -> None:
    gone, there = Process(), Process()
    for process in (gone, there):
        process.answer("/generate", 10, 0.02)
        process.telemetry.requests.in_flight = 3
    value = shown(there.snapshot(), ended=(gone.snapshot(),)).get_sample_value
    assert value("ganymede_requests_total", {"route": "/generate", "status": "200"}) == 20
    assert value("ganymede_requests_in_flight") == 3


def test_sums_can_be_added_up_again() -> None:
    processes = [Process() for _ in range(3)]
    for process in processes:
        process.telemetry.package_unloads.inc()
    first, second, third = (process.snapshot() for process in processes)
    ended = snapshot(shown(ended=(first, second)))
    assert shown(third, ended=(ended,)).get_sample_value("ganymede_package_unloads_total") == 3
