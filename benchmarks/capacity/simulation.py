"""A fleet under a traffic, simulated: arrivals, balancers, replicas; equal seeds give equal results.

arrivals ─▶ one of several balancers ─▶ one of several replicas ─▶ latency, or 429, or 504
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import simpy

from benchmarks.capacity.balancing import POLICIES, Choose
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.replica import End, Replica, Request, Waiting
from benchmarks.results import quantile

# Of the first requests, while the fleet fills.
WARM_UP_SHARE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Equal replicas behind balancers.

    Attributes:
        profile: of each replica.
        replicas: N.
        policy: a key of `POLICIES`.
        balancers: independent ones, each of which sees its own requests alone; a request comes to any of them.
    """

    profile: Profile
    replicas: int = 1
    policy: str = "random"
    balancers: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a traffic met with, the warm-up left out.

    Attributes:
        latencies_s: of the requests that were answered in time, as they ended.
        refused: how many were answered 429.
        late: how many were answered 504.
        mean_wait_s: from arrival to first run.
        mean_in_system: requests in the fleet, averaged over time.
        seconds: simulated, from the first arrival that counts to the last answer.
        runs: batch size → how many runs; of the warm-up, too.
        busy: share of all cores' time that was computed in; of the warm-up, too.
    """

    latencies_s: list[float]
    refused: int
    late: int
    mean_wait_s: float
    mean_in_system: float
    seconds: float
    runs: Counter[int]
    busy: float

    @property
    def mean_batch(self) -> float:
        """Mean rows of a run."""
        return sum(size * count for size, count in self.runs.items()) / max(1, self.runs.total())

    def latency_s(self, share: float) -> float:
        """A quantile of the latency; infinite where that share was not answered, counting refused and late requests."""
        asked = len(self.latencies_s) + self.refused + self.late
        answered = share * asked / len(self.latencies_s) if self.latencies_s else 2.0
        return quantile(self.latencies_s, answered) if answered <= 1 else float("inf")


class _Run:
    """State of one simulation."""

    def __init__(self, fleet: Fleet, warm_up: int, chance: random.Random) -> None:
        self.env = simpy.Environment()
        self.latencies: list[float] = []
        self.ends: Counter[End] = Counter()
        self.area = 0.0
        self.first = 0.0
        self._fleet = fleet
        self._warm_up = warm_up
        self._chance = chance
        self._in_system = 0
        self._changed = 0.0
        self._counted: set[Request] = set()
        self.replicas = [Replica(self.env, fleet.profile, chance, self._ended) for _ in range(fleet.replicas)]
        self._place = {replica: place for place, replica in enumerate(self.replicas)}
        self._choose: list[Choose] = [POLICIES[fleet.policy](chance) for _ in range(fleet.balancers)]
        self._outstanding = [[0] * fleet.replicas for _ in range(fleet.balancers)]

    def arrivals(self, times: Iterable[float]) -> Waiting:
        env, profile = self.env, self._fleet.profile
        for number, at in enumerate(times):
            yield env.timeout(max(0.0, at - env.now))
            if number == self._warm_up:
                self.first = self._changed = env.now
                self.area = 0.0
            balancer = self._chance.randrange(self._fleet.balancers) if self._fleet.balancers > 1 else 0
            outstanding = self._outstanding[balancer]
            place = self._choose[balancer](outstanding) if len(self.replicas) > 1 else 0
            outstanding[place] += 1
            request = Request(env.now, profile.samples, balancer)
            if number >= self._warm_up:
                self._counted.add(request)
            self._count(1)
            self.replicas[place].submit(request)

    def _ended(self, replica: Replica, request: Request) -> None:
        self._count(-1)
        self._outstanding[request.balancer][self._place[replica]] -= 1
        if request in self._counted:
            self._counted.discard(request)
            if request.end is End.ANSWERED:
                self.latencies.append(self.env.now - request.arrived + self._fleet.profile.elsewhere_s)
            elif request.end is not None:
                self.ends[request.end] += 1

    def _count(self, change: int) -> None:
        now = self.env.now
        self.area += self._in_system * (now - self._changed)
        self._in_system += change
        self._changed = now


def simulate(fleet: Fleet, times: Iterable[float], seed: int, *, warm_up: int | None = None) -> Outcome:
    """Simulate until every request has ended.

    Args:
        fleet: what serves.
        times: arrival times in seconds, ascending; at least one.
        seed: of service times and choices.
        warm_up: requests at the start that are served and not counted; by default `WARM_UP_SHARE` of all.
    """
    listed = list(times)
    skipped = int(WARM_UP_SHARE * len(listed)) if warm_up is None else warm_up
    run = _Run(fleet, skipped, random.Random(seed))  # noqa: S311 - a simulation, not a secret
    run.env.process(run.arrivals(listed))
    run.env.run()
    replicas = run.replicas
    waited_s, waiting = (sum(parts) for parts in zip(*(replica.waits for replica in replicas), strict=True))
    runs: Counter[int] = Counter()
    for replica in replicas:
        runs.update(replica.runs)
    seconds = run.env.now - run.first
    return Outcome(
        latencies_s=run.latencies,
        refused=run.ends[End.REFUSED],
        late=run.ends[End.LATE],
        mean_wait_s=waited_s / max(1, waiting),
        mean_in_system=run.area / seconds if seconds else 0.0,
        seconds=seconds,
        runs=runs,
        busy=sum(replica.busy_s for replica in replicas) / (len(replicas) * fleet.profile.cores * run.env.now),
    )
