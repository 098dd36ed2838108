"""Goodput under overload: samples a second answered before their deadline.

    capacity, by a closed loop ──▶ Poisson arrivals at one, three and five times the capacity, each with a deadline

Goodput is compared with the capacity and with the samples computed in the same time. On a shared machine only the
second ratio is reliable, because the capacity changes between its measurement and the load. Requests are not repeated.
`--against` names a checkout of another version of the service, which is measured in the same rounds, in alternating
order.
"""

import asyncio
import http.client
import random
import re
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Launch, Server
from benchmarks.load import usage
from benchmarks.load.arrivals import poisson, until
from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.load.connection import Connection, connect, encode, exactly
from benchmarks.results import Row, quantile
from benchmarks.workplace import ROOT

NETWORK: Final = "g28"
SAMPLES: Final = 64
DEADLINE_MS: Final = 1000
LOADS: Final = (1.0, 3.0, 5.0)
ROUNDS: Final = 3
SECONDS: Final = 8.0
# While the queue fills, every request is in time under any scheduler.
WARM_UP_S: Final = 2.0
CAPACITY_CONNECTIONS: Final = 16
CAPACITY_S: Final = 4.0
# More than are in flight at a time: each request is answered or refused within about a second.
CONNECTIONS: Final = 500
METRICS_TIMEOUT_S: Final = 10.0
COMPUTED: Final = re.compile(r'^ganymede_samples_total\{graph="generator",.*\} (\S+)$', re.MULTILINE)
VERSION: Final = re.compile(r'__version__ = "(.+)"')


@dataclass(frozen=True)
class Asked:
    """One request that was sent.

    Attributes:
        due_s: scheduled time, from the start.
        took_s: until its response.
        good: whether it succeeded before its deadline.
    """

    due_s: float
    took_s: float
    good: bool


async def capacity(work: Work, duration_s: float) -> float:
    """Requests a second of a closed loop on `CAPACITY_CONNECTIONS` connections, without deadlines."""
    connections = await connect(work.url, CAPACITY_CONNECTIONS)
    loop = asyncio.get_running_loop()
    start_s = loop.time()

    async def caller(place: int, connection: Connection) -> int:
        answered = 0
        while loop.time() - start_s < duration_s:
            done: asyncio.Future[LoadFailed | None] = loop.create_future()
            connection.send(encode(work, place + CAPACITY_CONNECTIONS * answered), done.set_result)
            if (problem := await done) is not None:
                raise problem
            answered += 1
        return answered

    try:
        answered = await asyncio.gather(*(caller(place, each) for place, each in enumerate(connections)))
        return sum(answered) / (loop.time() - start_s)
    finally:
        for connection in connections:
            connection.close()


async def flood(work: Work, due_s: Sequence[float], deadline_ms: int) -> list[Asked]:
    """Send requests at their scheduled times (open loop).

    Args:
        work: the request.
        due_s: scheduled times, ascending.
        deadline_ms: `X-Timeout-Ms` of each.
    """
    free = await connect(work.url, min(CONNECTIONS, len(due_s)))
    opened = free.copy()
    loop = asyncio.get_running_loop()
    asked: list[Asked] = []
    all_answered = asyncio.Event()
    start_s = loop.time()

    def finish(connection: Connection, due: float, problem: LoadFailed | None) -> None:
        took_s = loop.time() - start_s - due
        asked.append(Asked(due, took_s, problem is None and took_s * 1000 <= deadline_ms))
        free.append(connection)
        if len(asked) == len(due_s):
            all_answered.set()

    def arrive(seed: int, due: float) -> None:
        if not free:
            raise LoadFailed(f"{CONNECTIONS} requests are on their way")
        connection = free.pop()
        request = encode(work, seed * work.n)
        stated = request.replace(b"\r\n\r\n", f"\r\nX-Timeout-Ms: {deadline_ms}\r\n\r\n".encode(), 1)
        connection.send(stated, partial(finish, connection, due))

    try:
        for seed, due in enumerate(due_s):
            loop.call_at(start_s + due, arrive, seed, due)
        await asyncio.wait_for(all_answered.wait(), due_s[-1] + deadline_ms / 100)
    finally:
        for connection in opened:
            connection.close()
    return asked


def computed(work: Work) -> float:
    """Samples that a service has computed so far, by its metrics."""
    address = urllib.parse.urlsplit(work.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=METRICS_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return sum(map(float, COMPUTED.findall(connection.getresponse().read().decode())))
    finally:
        connection.close()


def measure(servers: Sequence[tuple[str, Launch, Work]], rounds: int, duration_s: float) -> Iterator[Row]:
    """Overload servers in turn.

    Args:
        servers: name, start command, request.
        rounds: measurements of each server and load.
        duration_s: of each load.

    Yields:
        For each server, load and round: goodput and capacity in samples a second, and the median latency of requests
        that were answered in time and of the others.
    """
    for turn in range(rounds):
        for name, launch, work in servers[::-1] if turn % 2 else servers:
            with Server(launch) as server:
                server.first_answer(work)
                limit = exactly(capacity(work, CAPACITY_S))
                for load in LOADS:
                    chance = random.Random(turn)  # noqa: S311 - a load, not a secret
                    before, cpu_s, samples = usage.read(server.pid), time.process_time(), computed(work)
                    asked = exactly(flood(work, until(poisson(load * limit, chance), duration_s), DEADLINE_MS))
                    used = usage.between(before, usage.read(server.pid), time.process_time() - cpu_s)
                    settled = [each for each in asked if each.due_s >= WARM_UP_S]
                    good = [each.took_s for each in settled if each.good]
                    lost = [each.took_s for each in settled if not each.good]
                    yield {
                        "server": name,
                        "round": turn,
                        "load": load,
                        "capacity_samples_per_s": limit * work.n,
                        "offered_samples_per_s": len(settled) * work.n / (duration_s - WARM_UP_S),
                        "goodput_samples_per_s": len(good) * work.n / (duration_s - WARM_UP_S),
                        "good_of_computed": sum(each.good for each in asked) * work.n / (computed(work) - samples),
                        "good_p50_s": quantile(good, 0.5) if good else None,
                        "lost_p50_s": quantile(lost, 0.5) if lost else None,
                        "server_cores": used.server,
                        "foreign_cores": used.foreign,
                    }


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("overload", __doc__)
    parser.add_argument("--against", type=Path, help="checkout of another version of the service")
    asked = parser.parse_args(arguments)
    rounds, duration_s = (1, 4.0) if asked.quick else (ROUNDS, SECONDS)
    servers: list[tuple[str, Launch, Work]] = []
    for checkout in (ROOT, asked.against):
        if checkout is not None:
            setting, port = Setting(network=NETWORK), free_port()
            (version,) = VERSION.findall((checkout / "service" / "__init__.py").read_text(encoding="utf-8"))
            launch = replace(OURS, name=f"ganymede {version}").launch(setting, port)
            paths = {"PYTHONPATH": str(checkout.resolve()), "PYTHONSAFEPATH": "1"}  # not the working directory
            launch = replace(launch, environment={**launch.environment, **paths})
            servers.append((f"ganymede {version}", launch, OURS.work(setting, port, SAMPLES)))
    rows = workplace.measured(measure(servers, rounds, duration_s), "overload", rounds * len(servers) * len(LOADS))
    settings = {"network": NETWORK, "samples": SAMPLES, "deadline_ms": DEADLINE_MS, "duration_s": duration_s}
    sys.stdout.write(f"{results.write('overload', settings, rows, workplace.folder(asked))}\n")
