"""Goodput under overload: samples a second answered before their deadline, and how soon a caller notices nothing more.

    capacity, by a closed loop ──▶ Poisson arrivals at one, three and five times the capacity, each with a deadline
                                     └ from the last arrival on: one caller, until it is answered as fast as before

Goodput is compared with the capacity and with the samples computed in the same time. On a shared machine only the
second ratio is reliable, because the capacity changes between its measurement and the load. Requests are not repeated.
The service is measured without keys and with keys: three of different weights, which share nine tenths of the
requests evenly, and one with a quota far below what it asks for. `--against` names a checkout of another version,
which is measured in the same rounds, in alternating order.

The load generator shares the cores with the service: it encodes its requests before they are due, and polls by epoll,
whose resolution of a millisecond is enough for deadlines of a second (`connection.exactly` scans every connection).
"""

import asyncio
import http.client
import random
import re
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Launch, Server, write_keys
from benchmarks.load import usage
from benchmarks.load.arrivals import poisson, until
from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.load.connection import Connection, connect, encode
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
CAPACITY_CONNECTIONS: Final = 8
CAPACITY_S: Final = 4.0
# More than are in flight at a time: each request is answered or refused within about a second.
CONNECTIONS: Final = 500
METRICS_TIMEOUT_S: Final = 10.0
# `limited` may have one of these requests a second.
KEYS: Final = {
    "light": {"weight": 1}, "middle": {"weight": 2}, "heavy": {"weight": 4},
    "limited": {"samples_per_second": SAMPLES, "burst": SAMPLES},
}  # fmt: skip
TURNS: Final = (*("light", "middle", "heavy") * 3, "limited")
# So many answers in a row, each as soon as half of them before the load, allowing for a busy machine.
CALM: Final = 10
CALM_TIMES: Final = 3.0
RECOVERY_TIMEOUT_S: Final = 20.0
COMPUTED: Final = re.compile(r'^ganymede_samples_total\{graph="generator",.*\} (\S+)$', re.MULTILINE)
VERSION: Final = re.compile(r'__version__ = "(.+)"')


@dataclass(frozen=True)
class Asked:
    """One request that was sent.

    Attributes:
        due_s: scheduled time, from the start.
        took_s: until its response.
        answered: whether it succeeded.
        good: whether it succeeded before its deadline.
        key: name of its key, if it has one.
    """

    due_s: float
    took_s: float
    answered: bool
    good: bool
    key: str | None


@dataclass(frozen=True, kw_only=True)
class Overloaded:
    """A server to overload.

    Attributes:
        name: in the results.
        launch: its start command.
        work: the request.
        keys: name → key; without any, requests have none.
    """

    name: str
    launch: Launch
    work: Work
    keys: Mapping[str, str] = field(default_factory=dict)


async def capacity(work: Work, duration_s: float, key: str | None = None) -> float:
    """Requests a second of a closed loop on `CAPACITY_CONNECTIONS` connections, without deadlines."""
    connections = await connect(work.url, CAPACITY_CONNECTIONS)
    loop = asyncio.get_running_loop()
    start_s = loop.time()

    async def caller(place: int, connection: Connection) -> int:
        answered = 0
        while loop.time() - start_s < duration_s:
            done: asyncio.Future[LoadFailed | None] = loop.create_future()
            connection.send(encode(work, place + CAPACITY_CONNECTIONS * answered, key), done.set_result)
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


async def flood(
    work: Work, due_s: Sequence[float], deadline_ms: int, keys: Mapping[str, str] | None = None
) -> list[Asked]:
    """Send requests at their scheduled times (open loop).

    Args:
        work: the request.
        due_s: scheduled times, ascending.
        deadline_ms: `X-Timeout-Ms` of each.
        keys: name → key, used in the order of `TURNS`.
    """
    turns = [TURNS[seed % len(TURNS)] if keys else None for seed in range(len(due_s))]
    stated = f"\r\nX-Timeout-Ms: {deadline_ms}\r\n\r\n".encode()
    requests = [
        encode(work, seed * work.n, keys[key] if keys and key else None).replace(b"\r\n\r\n", stated, 1)
        for seed, key in enumerate(turns)
    ]
    free = await connect(work.url, min(CONNECTIONS, len(due_s)))
    opened = free.copy()
    loop = asyncio.get_running_loop()
    asked: list[Asked] = []
    all_answered = asyncio.Event()
    start_s = loop.time()

    def finish(connection: Connection, due: float, key: str | None, problem: LoadFailed | None) -> None:
        took_s, answered = loop.time() - start_s - due, problem is None
        asked.append(Asked(due, took_s, answered, answered and took_s * 1000 <= deadline_ms, key))
        free.append(connection)
        if len(asked) == len(due_s):
            all_answered.set()

    def arrive(place: int, due: float) -> None:
        if not free:
            raise LoadFailed(f"{CONNECTIONS} requests are on their way")
        connection = free.pop()
        connection.send(requests[place], partial(finish, connection, due, turns[place]))

    try:
        for place, due in enumerate(due_s):
            loop.call_at(start_s + due, arrive, place, due)
        await asyncio.wait_for(all_answered.wait(), due_s[-1] + deadline_ms / 100)
    finally:
        for connection in opened:
            connection.close()
    return asked


async def recovery(work: Work, usual_s: float, after_s: float, key: str | None = None) -> float:
    """Seconds until one caller's requests are answered as soon as usually.

    Args:
        work: the request.
        usual_s: what it takes without other load.
        after_s: until the load ends; the seconds count from there.
        key: of the caller.

    Returns:
        To the first of `CALM` answers in a row of at most `CALM_TIMES` times the usual, at most `RECOVERY_TIMEOUT_S`.
    """
    await asyncio.sleep(after_s)
    loop = asyncio.get_running_loop()
    began_s, calm_s, calm = loop.time(), 0.0, 0
    while calm < CALM and (at_s := loop.time() - began_s) < RECOVERY_TIMEOUT_S:
        took_s, good = await _one(work, calm, key)
        if not good or took_s > CALM_TIMES * usual_s:
            calm = 0
            continue
        calm_s = calm_s if calm else at_s
        calm += 1
    return calm_s if calm == CALM else RECOVERY_TIMEOUT_S


async def usual(work: Work, key: str | None = None) -> float:
    """Median seconds of one caller's requests, one after the other."""
    return quantile([(await _one(work, seed, key))[0] for seed in range(4 * CALM)], 0.5)


async def _one(work: Work, seed: int, key: str | None) -> tuple[float, bool]:
    """Seconds of a request on a connection of its own, as a newcomer has it, and whether it succeeded."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    (connection,) = await connect(work.url, 1)
    done: asyncio.Future[LoadFailed | None] = loop.create_future()
    connection.send(encode(work, seed, key), done.set_result)
    problem = await done
    connection.close()
    return loop.time() - began_s, problem is None


def computed(work: Work, key: str | None = None) -> float:
    """Samples that a service has computed so far, by its metrics."""
    address = urllib.parse.urlsplit(work.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=METRICS_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics", headers={"X-API-Key": key} if key else {})
        return sum(map(float, COMPUTED.findall(connection.getresponse().read().decode())))
    finally:
        connection.close()


def measure(servers: Sequence[Overloaded], rounds: int, duration_s: float) -> Iterator[Row]:
    """Overload servers in turn.

    Args:
        servers: what is measured.
        rounds: measurements of each server and load.
        duration_s: of each load.

    Yields:
        For each server, load and round: goodput and capacity in samples a second, quantiles of the latency of requests
        that were answered, in time, and of the others, the recovery, and what each key got.
    """
    for turn in range(rounds):
        for each in servers[::-1] if turn % 2 else servers:
            key = each.keys.get("heavy")
            one = replace(each.work, n=1, head=each.work.head.replace(f'"n": {each.work.n}', '"n": 1'))
            with Server(each.launch) as server:
                server.first_answer(one, key)
                usual_s = asyncio.run(usual(one, key))
                limit = asyncio.run(capacity(each.work, CAPACITY_S, key))
                for load in LOADS:
                    before, cpu_s, samples = usage.read(server.pid), time.process_time(), computed(each.work, key)
                    chance = random.Random(turn)  # noqa: S311 - a load, not a secret
                    due_s = until(poisson(load * limit, chance), duration_s)
                    asked, recovery_s = asyncio.run(_flooded(each, one, due_s, usual_s))
                    used = usage.between(before, usage.read(server.pid), time.process_time() - cpu_s)
                    yield {
                        "server": each.name, "round": turn, "load": load,
                        "capacity_samples_per_s": limit * each.work.n,
                        **_seen(asked, each.work.n, duration_s),
                        "good_of_computed": sum(request.good for request in asked) * each.work.n
                        / (computed(each.work, key) - samples),
                        "usual_s": usual_s, "recovery_s": recovery_s,
                        "server_cores": used.server, "foreign_cores": used.foreign,
                    }  # fmt: skip


async def _flooded(each: Overloaded, one: Work, due_s: Sequence[float], usual_s: float) -> tuple[list[Asked], float]:
    """A load, and the recovery from it."""
    return await asyncio.gather(
        flood(each.work, due_s, DEADLINE_MS, each.keys), recovery(one, usual_s, due_s[-1], each.keys.get("heavy"))
    )


def _seen(asked: Sequence[Asked], n: int, duration_s: float) -> Row:
    """What the callers saw, after the first seconds."""
    settled = [each for each in asked if each.due_s >= WARM_UP_S]
    good = [each for each in settled if each.good]
    answered = [each for each in settled if each.answered]
    lost = [each.took_s for each in settled if not each.good]
    per_s = n / (duration_s - WARM_UP_S)
    named = sorted({each.key for each in settled if each.key})
    return {
        "offered_samples_per_s": len(settled) * per_s,
        "goodput_samples_per_s": len(good) * per_s,
        "good_p50_s": quantile([each.took_s for each in good], 0.5) if good else None,
        "answered_p99_s": quantile([each.took_s for each in answered], 0.99) if answered else None,
        "lost_p50_s": quantile(lost, 0.5) if lost else None,
        **{f"goodput_{key}": sum(each.key == key for each in good) * per_s for key in named},
    }


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("overload", __doc__)
    parser.add_argument("--against", type=Path, help="checkout of another version of the service")
    asked = parser.parse_args(arguments)
    rounds, duration_s = (1, 4.0) if asked.quick else (ROUNDS, SECONDS)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "keys.toml"
        servers = [_server(ROOT), _server(ROOT, file)] + ([_server(asked.against)] if asked.against else [])
        rows = workplace.measured(measure(servers, rounds, duration_s), "overload", rounds * len(servers) * len(LOADS))
    settings = {"network": NETWORK, "samples": SAMPLES, "deadline_ms": DEADLINE_MS, "duration_s": duration_s}
    sys.stdout.write(f"{results.write('overload', settings, rows, workplace.folder(asked))}\n")


def _server(checkout: Path, keys_file: Path | None = None) -> Overloaded:
    """The service of a checkout, with keys if there is to be a file of them."""
    setting, port = Setting(network=NETWORK), free_port()
    (version,) = VERSION.findall((checkout / "service" / "__init__.py").read_text(encoding="utf-8"))
    name = f"ganymede {version}{', with keys' if keys_file else ''}"
    launch = replace(OURS, name=name).launch(setting, port)
    added = {"PYTHONPATH": str(checkout.resolve()), "PYTHONSAFEPATH": "1"}  # not the working directory
    if keys_file:
        added["GANYMEDE_KEYS_FILE"] = str(keys_file)
    launch = replace(launch, environment={**launch.environment, **added})
    keys = write_keys(keys_file, KEYS) if keys_file else {}
    return Overloaded(name=name, launch=launch, work=OURS.work(setting, port, SAMPLES), keys=keys)
