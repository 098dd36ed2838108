"""Measures a running service for a `Profile`: what runs, the event loop and the way there take, one at a time.

    one connection, each batch size       latency − (mean latency − mean run by the service's statistics) = a run
    the same with pauses                  what a request takes longer after an idle time
    the event loop's thread (/proc)       processor time of a request
    probes, idle and beside long runs     how long the event loop waits for a core

Nothing here is measured under the loads that the model is then asked about.
"""

import asyncio
import json
import random
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import SCHED_OTHER, SCHED_RR, sched_getaffinity, sched_param, sched_setaffinity, sched_setscheduler
from statistics import fmean, median
from typing import Any, Final, NamedTuple

from benchmarks.capacity.profile import Profile
from benchmarks.contenders.packages import VERSION
from benchmarks.contenders.server import Caller
from benchmarks.experiments.overload import capacity
from benchmarks.load import usage
from benchmarks.load.closed_loop import LoadFailed, Work, json_work
from benchmarks.load.connection import Connection, connect, encode, exactly
from benchmarks.results import spread

NS: Final = 1e-9
# Decimals of seconds in a profile: microseconds, a hundredth of the shortest run.
DIGITS: Final = 6
WARM_UP_REQUESTS: Final = 5
# Mean distance of two probes; a few runs, so that one probe does not meet the next.
PROBE_S: Final = 0.03
# Pauses before a request: from less than the shortest run to more than any at a load worth planning for.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 2e-4, 0.1
PROBE: Final = "/healthz"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured.

    Attributes:
        requests: of each batch size on one connection.
        probes: of the event loop, idle and busy.
        pauses: before a request, of different lengths.
        saturated_s: seconds of the closed loop that tells the capacity.
    """

    requests: int = 40
    probes: int = 80
    pauses: int = 160
    saturated_s: float = 2.5


@dataclass(frozen=True)
class Target:
    """A running service to be measured.

    Attributes:
        pid: of its process.
        port: on this host.
        network: its package.
    """

    pid: int
    port: int
    network: str

    def work(self, samples: int) -> Work:
        """The request for so many samples."""
        return json_work(f"http://127.0.0.1:{self.port}/generate?format=npy", samples, model=self.network)

    def ask(self, path: str) -> Any:  # noqa: ANN401 - JSON of whatever form
        """The answer to a GET."""
        with Caller(self.port) as caller:
            return json.loads(caller.get(path))

    @property
    def buckets(self) -> list[int]:
        """Batch sizes of its generator."""
        loaded = self.ask(f"/models/{self.network}/versions/{VERSION}")
        return [int(size) for size in loaded["generator_on_device"]["buckets"]]

    def run_totals(self) -> dict[int, tuple[int, float]]:
        """Batch size → runs so far, and the seconds that they took, inputs and outputs included."""
        (counted,) = self.ask(f"/v2/models/{self.network}/stats")["model_stats"]
        stages = "compute_input", "compute_infer", "compute_output"
        return {
            int(batch["batch_size"]): (
                int(batch["compute_infer"]["count"]),
                sum(int(batch[stage]["ns"]) for stage in stages) * NS,
            )
            for batch in counted["batch_stats"]
        }


@contextmanager
def generating(cores: Sequence[int]) -> Iterator[bool]:
    """Run this process on these cores, before all others where that is permitted, and undo both at the end.

    A load generator that waits for a core measures itself. It computes for a fraction of a millisecond a request.

    Yields:
        Whether it goes before others.
    """
    before, first = sched_getaffinity(0), False
    sched_setaffinity(0, cores)
    with suppress(PermissionError):
        sched_setscheduler(0, SCHED_RR, sched_param(1))
        first = True
    try:
        yield first
    finally:
        if first:
            sched_setscheduler(0, SCHED_OTHER, sched_param(0))
        sched_setaffinity(0, before)


def calibrate(targets: Sequence[Target], samples: int, effort: Effort) -> Profile:
    """Measure equal replicas at the same time, so that each is measured beside the others.

    Args:
        targets: at least one, idle, of one core each.
        samples: of the requests that the profile is for.
    """
    parts = exactly(_all(targets, samples, effort))
    sizes = sorted(set.intersection(*(set(part.run_s) for part in parts)))  # each says itself which sizes pay
    return Profile(
        samples=samples,
        run_s={size: tuple(seconds for part in parts for seconds in part.run_s[size]) for size in sizes},
        request_s=fmean(part.request_s for part in parts),
        answer_s=fmean(part.answer_s for part in parts),
        after_idle=tuple(sorted(pair for part in parts for pair in part.after_idle)),
        wake_s=tuple(seconds for part in parts for seconds in part.wake_s),
        elsewhere_s=fmean(part.elsewhere_s for part in parts),
    )


def saturated_per_s(targets: Sequence[Target], samples: int, effort: Effort) -> float:
    """Requests a second of all replicas at saturation, measured by a closed loop on each at the same time."""

    async def together() -> list[float]:
        return await asyncio.gather(*(capacity(each.work(samples), effort.saturated_s) for each in targets))

    return sum(exactly(together()))


async def _all(targets: Sequence[Target], samples: int, effort: Effort) -> list[Profile]:
    return await asyncio.gather(*(_calibrate(target, samples, effort) for target in targets))


async def _calibrate(target: Target, samples: int, effort: Effort) -> Profile:
    buckets = await asyncio.to_thread(lambda: target.buckets)
    back_to_back = [0.0] * effort.requests
    chance = random.Random(samples)  # noqa: S311 - a load, not a secret
    run_s: dict[int, tuple[float, ...]] = {}
    (connection,) = await connect(target.work(1).url, 1)
    try:
        for size in buckets:
            found = await _one_by_one(target, connection, size, back_to_back)
            if found.sizes != {size}:  # larger than pays, by what the service measured itself
                break
            run_s[size] = _runs(found)
        found = await _one_by_one(target, connection, samples, back_to_back)
        longest = LONGEST_PAUSE_S / SHORTEST_PAUSE_S
        pauses_s = [SHORTEST_PAUSE_S * longest ** chance.random() for _ in range(effort.pauses)]
        paused = await _one_by_one(target, connection, samples, pauses_s)
        wake_s = await _wakes(target, max(run_s), effort)
    finally:
        connection.close()
    usual_s = fmean(found.latencies_s)
    return Profile(
        samples=samples,
        run_s=run_s,
        request_s=round(found.loop_s / 2, DIGITS),
        answer_s=round(found.loop_s / 2, DIGITS),
        after_idle=tuple(
            sorted(
                (round(pause_s, DIGITS), round(latency_s - usual_s, DIGITS))
                for pause_s, latency_s in zip(pauses_s, paused.latencies_s, strict=True)
            )
        ),
        wake_s=wake_s,
        elsewhere_s=round(max(0.0, usual_s - found.runs_s - found.loop_s), DIGITS),
    )


class _OneByOne(NamedTuple):
    """What requests took that were sent one after the other.

    Attributes:
        runs_s: mean seconds of a request's runs.
        loop_s: mean processor time of the event loop for a request.
        sizes: of the runs.
    """

    latencies_s: list[float]
    runs_s: float
    loop_s: float
    sizes: set[int]


def _runs(found: _OneByOne) -> tuple[float, ...]:
    """Each request's run: its latency without what requests take beside their run, on average."""
    beside_s = fmean(found.latencies_s) - found.runs_s
    least_s = min(found.latencies_s) / 2
    return tuple(round(max(each - beside_s, least_s), DIGITS) for each in found.latencies_s)


async def _one_by_one(target: Target, connection: Connection, samples: int, pauses_s: Sequence[float]) -> _OneByOne:
    """Send one request after each pause."""
    work, loop = target.work(samples), asyncio.get_running_loop()
    for seed in range(WARM_UP_REQUESTS):
        await _answer(connection, encode(work, seed))
    before = await asyncio.to_thread(target.run_totals)
    latencies_s: list[float] = []
    cpu_s = usage.thread_s(target.pid)
    for seed, pause_s in enumerate(pauses_s, WARM_UP_REQUESTS):
        if pause_s:
            await asyncio.sleep(pause_s)
        began_s = loop.time()
        await _answer(connection, encode(work, seed))
        latencies_s.append(loop.time() - began_s)
    cpu_s = usage.thread_s(target.pid) - cpu_s
    after = await asyncio.to_thread(target.run_totals)
    ran = {size for size, (runs, _) in after.items() if runs > before.get(size, (0, 0.0))[0]}
    seconds = sum(total_s for _, total_s in after.values()) - sum(total_s for _, total_s in before.values())
    return _OneByOne(latencies_s, seconds / len(pauses_s), cpu_s / len(pauses_s), ran)


async def _wakes(target: Target, largest: int, effort: Effort) -> tuple[float, ...]:
    """How much later a probe is answered while a long run computes than while none does."""
    work = target.work(largest)
    probing, busy = await connect(work.url, 2)
    stop = asyncio.Event()

    async def occupy() -> None:
        seed = 0
        while not stop.is_set():
            await _answer(busy, encode(work, seed))
            seed += 1

    try:
        idle_s = await _probes(work, probing, effort.probes)
        occupying = asyncio.create_task(occupy())
        busy_s = await _probes(work, probing, effort.probes)
        stop.set()
        await occupying
    finally:
        probing.close()
        busy.close()
    usual_s = median(idle_s)
    return tuple(round(max(0.0, seconds - usual_s), DIGITS) for seconds in busy_s)


async def _probes(work: Work, connection: Connection, count: int) -> list[float]:
    loop, chance = asyncio.get_running_loop(), random.Random(count)  # noqa: S311 - a load, not a secret
    host = urllib.parse.urlsplit(work.url).netloc
    request = f"GET {PROBE} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    seconds = []
    for _ in range(count):
        await asyncio.sleep(chance.uniform(0, 2 * PROBE_S))
        began_s = loop.time()
        await _answer(connection, request)
        seconds.append(loop.time() - began_s)
    return seconds


async def _answer(connection: Connection, request: bytes) -> None:
    done: asyncio.Future[LoadFailed | None] = asyncio.get_running_loop().create_future()
    connection.send(request, done.set_result)
    if (problem := await done) is not None:
        raise problem


def summary(profile: Profile) -> dict[str, float]:
    """Medians of a profile, by what they are of."""
    runs = {f"run_{size}_s": spread(seconds).median for size, seconds in profile.run_s.items()}
    after_idle_s = spread([more_s for _, more_s in profile.after_idle]).median
    return {
        **runs,
        "after_idle_s": after_idle_s,
        "loop_s": profile.request_s + profile.answer_s,
        "elsewhere_s": profile.elsewhere_s,
    }
