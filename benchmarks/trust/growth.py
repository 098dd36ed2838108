"""What a running service holds, measured again and again, and whether any of it grows.

    every few seconds: of each process RSS, file descriptors, threads; of /metrics the number of series
    after the warm-up: the slope of each by Theil-Sen, the median of the slopes of all pairs, which outliers do not move

References:
    Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
"""

import http.client
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from benchmarks.contenders.server import HOST
from benchmarks.load.usage import PROC, family, resident_bytes
from benchmarks.results import Row

MEBIBYTE: Final = 2**20
TEN_MINUTES_S: Final = 600.0
# The pass mark of memory: a mebibyte in ten minutes.
MOST_BYTES_PER_S: Final = MEBIBYTE / TEN_MINUTES_S
# In a shorter time than this the service still warms up and the heap's steps are larger than what is looked for, so all
# that it may grow by is a bound on the whole; what leaks with every request is beyond it in seconds.
LONG_S: Final = 600.0
SHORT_BYTES: Final = 16 * MEBIBYTE
# Of counts: fewer than one more over the whole time; in a short time, what the first requests of a kind need.
LONG_COUNT: Final = 1.0
SHORT_COUNT: Final = 64.0
METRICS_TIMEOUT_S: Final = 30.0
# Of a run: more pairs cost more time than they add certainty.
MOST_POINTS: Final = 400


@dataclass(frozen=True)
class Measured:
    """What was held at one moment.

    Attributes:
        at_s: since the first.
        values: quantity → amount. Processes are numbered in the order of their start.
    """

    at_s: float
    values: Mapping[str, float]


def measure(pid: int, port: int, headers: Mapping[str, str]) -> dict[str, float]:
    """Measure a service now.

    Args:
        pid: of its first process.
        headers: of the request for its metrics.
    """
    found: dict[str, float] = {"series": _series(port, headers)}
    processes = sorted(each for each in family(pid) if _is_python(each))
    for number, each in enumerate(processes):
        try:
            found[f"rss of process {number}"] = resident_bytes(each)
            found[f"fds of process {number}"] = len(list((PROC / str(each) / "fd").iterdir()))
            found[f"threads of process {number}"] = len(list((PROC / str(each) / "task").iterdir()))
        except OSError:  # it has ended: a child that vetted a package
            continue
    return found


def _is_python(pid: int) -> bool:
    """Whether a process is one of the service's own, and not a child that vets a package."""
    try:
        return b"vetting" not in (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def _series(port: int, headers: Mapping[str, str]) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=METRICS_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics", headers=dict(headers))
        lines = connection.getresponse().read().splitlines()
    finally:
        connection.close()
    return sum(not line.startswith(b"#") for line in lines)


def watch(taken: Callable[[], dict[str, float]], every_s: float, seconds: float) -> Iterator[Measured]:
    """Measure again and again.

    Yields:
        Each measurement when it is made.
    """
    began_s = time.monotonic()
    while (at_s := time.monotonic() - began_s) < seconds:
        yield Measured(at_s, taken())
        time.sleep(every_s)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen's slope: the median over all pairs; 0 of fewer than two points."""
    step = max(1, len(times) // MOST_POINTS)
    points = list(zip(times[::step], values[::step], strict=True))
    slopes = [(v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in combinations(points, 2) if t2 > t1]
    return statistics.median(slopes) if slopes else 0.0


def judge(measured: Sequence[Measured], warm_up_s: float) -> list[Row]:
    """Say of each quantity whether it grows after the warm-up.

    Returns:
        For each quantity that was there to the end: its first and last amount, its slope in ten minutes, the most it
        may be, and whether it grows. Bytes are in MiB.
    """
    settled = [each for each in measured if each.at_s >= warm_up_s]
    if not settled:
        return []
    window_s = settled[-1].at_s - settled[0].at_s
    rows: list[Row] = []
    for name in settled[-1].values:
        times = [each.at_s for each in settled if name in each.values]
        values = [each.values[name] for each in settled if name in each.values]
        is_bytes = name.startswith("rss")
        unit = MEBIBYTE if is_bytes else 1
        most = _most(window_s, is_bytes=is_bytes)
        found = slope(times, values)
        rows.append(
            {
                "quantity": name,
                "first": round(values[0] / unit, 2),
                "last": round(values[-1] / unit, 2),
                "slope_10_min": round(found * TEN_MINUTES_S / unit, 3),
                "most_10_min": round(most * TEN_MINUTES_S / unit, 3),
                "grows": found >= most,
            }
        )
    return rows


def _most(window_s: float, *, is_bytes: bool) -> float:
    """Slope, a second, from which a quantity is said to grow."""
    window_s = max(window_s, 1.0)
    if window_s < LONG_S:
        return (SHORT_BYTES if is_bytes else SHORT_COUNT) / window_s
    return MOST_BYTES_PER_S if is_bytes else LONG_COUNT / window_s
