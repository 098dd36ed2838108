"""Repeated bursts of 200 clients on an idle service: the slowest request of each, and the memory afterwards.

All clients connect at the same moment, and each sends a few requests one after the other on its connection. A request
is timed from when it is sent.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.load import usage
from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.load.connection import Connection, connect, encode, exactly
from benchmarks.results import Row, quantile

NETWORK: Final = "g28"
CALLERS: Final = 200
REQUESTS_OF_EACH: Final = 5
CYCLES: Final = 10
IDLE_S: Final = 1.0


async def send_burst(work: Work, callers: int, requests: int) -> list[float]:
    """Send requests on many connections at once.

    Args:
        work: the request.
        callers: connections.
        requests: of each connection, one after the other.

    Returns:
        The time of every request, in seconds.
    """
    connections = await connect(work.url, callers)
    try:
        told = (_caller(work, connection, place, requests) for place, connection in enumerate(connections))
        times = await asyncio.gather(*told)
    finally:
        for connection in connections:
            connection.close()
    return [each for caller in times for each in caller]


async def _caller(work: Work, connection: Connection, place: int, requests: int) -> list[float]:
    loop = asyncio.get_running_loop()
    times = []
    for turn in range(requests):
        answered: asyncio.Future[LoadFailed | None] = loop.create_future()
        start_s = time.monotonic()
        connection.send(encode(work, place * requests + turn), answered.set_result)
        problem = await answered
        if problem is not None:
            raise problem
        times.append(time.monotonic() - start_s)
    return times


def measure(cycles: int, callers: int, idle_s: float) -> Iterator[Row]:
    """Send bursts to our service, which is idle between them.

    Args:
        cycles: number of bursts.
        callers: connections of each burst.
        idle_s: seconds between two bursts.

    Yields:
        For each cycle the median and the slowest request, and the memory after it; cycle 0 is before the first burst.
    """
    setting, port = Setting(network=NETWORK), free_port()
    with Server(OURS.launch(setting, port)) as server:
        work = OURS.work(setting, port, 1)
        server.first_answer(work)
        time.sleep(idle_s)
        yield {"cycle": 0, "rss_bytes": _resident(server.pid)}
        for cycle in range(1, cycles + 1):
            before = usage.read(server.pid)
            cpu_s = time.process_time()
            times = exactly(send_burst(work, callers, REQUESTS_OF_EACH))
            used = usage.between(before, usage.read(server.pid), time.process_time() - cpu_s)
            time.sleep(idle_s)
            yield {
                "cycle": cycle,
                "p50_s": quantile(times, 0.5),
                "p99_s": quantile(times, 0.99),
                "worst_s": max(times),
                "requests": len(times),
                "foreign_cores": used.foreign,
                "rss_bytes": _resident(server.pid),
            }


def _resident(pid: int) -> int:
    return sum(usage.resident_bytes(each) for each in usage.family(pid))


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("burst", __doc__)
    parser.add_argument("--callers", type=int, default=CALLERS)
    asked = parser.parse_args(arguments)
    cycles, idle_s = (2, 0.2) if asked.quick else (CYCLES, IDLE_S)
    rows = workplace.measured(measure(cycles, asked.callers, idle_s), "bursts", cycles + 1)
    settings = {"network": NETWORK, "callers": asked.callers, "requests_of_each": REQUESTS_OF_EACH, "idle_s": idle_s}
    sys.stdout.write(f"{results.write('burst', settings, rows, workplace.folder(asked))}\n")
