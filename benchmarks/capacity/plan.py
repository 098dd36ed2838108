"""How many replicas a traffic takes, and what they cost: the fewest whose simulated p99 is below a target.

samples a day ─▶ requests a second in the busiest hour ─▶ those that no cache answers ─▶ replicas ─▶ cost
"""

import math
import random
from dataclasses import dataclass
from itertools import islice
from typing import Final

from benchmarks.capacity.profile import Profile
from benchmarks.capacity.simulation import Fleet, Outcome, simulate
from benchmarks.load.arrivals import poisson

DAY_S: Final = 86_400
HOURS: Final = 24
# Requests of one simulation: 400 of them are beyond the p99.
REQUESTS: Final = 40_000
# At an equal load a larger fleet's tail is the same, or shorter.
MOST_REPLICAS: Final = 256
# Beyond this load an error of some percent in the capacity is worth more than the queue; below the other nothing waits.
MOST_LOAD, LEAST_LOAD = 0.9, 0.05


class Unreachable(Exception):
    """No number of replicas meets the target."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What is asked for.

    Attributes:
        samples_per_day: of all callers.
        peak: rate in the busiest time, of the mean rate; at least 1. An assumption.
        hit_rate: share of the requests that caches answer, in [0, 1).
    """

    samples_per_day: float = 1e9
    peak: float = 2.0
    hit_rate: float = 0.0

    def __post_init__(self) -> None:
        rates = 0 < self.samples_per_day < math.inf and 1 <= self.peak < math.inf
        if not (rates and 0 <= self.hit_rate < 1):
            raise ValueError("a traffic has more than 0 samples a day, a peak of 1 or more, and a hit rate below 1")

    def requests_per_s(self, samples: int) -> float:
        """Requests of so many samples that come to the replicas in the busiest time."""
        return self.samples_per_day / DAY_S * self.peak * (1 - self.hit_rate) / samples


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Assumptions, which the reader replaces; in the same currency.

    Attributes:
        core_hour: one core with the memory that belongs to it, for an hour.
        gpu_hour: one GPU with its host, for an hour.
    """

    core_hour: float = 0.04
    gpu_hour: float = 2.50

    def __post_init__(self) -> None:
        if not (0 < self.core_hour < math.inf and 0 < self.gpu_hour < math.inf):
            raise ValueError("a core and a GPU cost more than 0 an hour")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the fleet must do.

    Attributes:
        p99_s: at most, in the busiest time; refused and late requests count as infinitely late.
        policy: of the balancers.
        balancers: independent ones.
    """

    p99_s: float = 0.02
    policy: str = "two choices"
    balancers: int = 8

    def __post_init__(self) -> None:
        if not (0 < self.p99_s < math.inf and self.balancers >= 1):
            raise ValueError("a demand has a p99 above 0, and at least one balancer")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A fleet that meets the demand.

    Attributes:
        requests_per_s: that come to the replicas in the busiest time.
        replicas: N.
        load: share of the fleet's capacity that is asked for in the busiest time.
        p50_s: in the busiest time; so are the other quantiles and the share that is refused or late.
        cost_per_day: of N replicas all day.
        cost_per_day_following: if the number of replicas followed the rate without delay: a lower bound.
        gpu_break_even_per_s: samples a second that a GPU must give to cost no more than the cores.
    """

    requests_per_s: float
    replicas: int
    load: float
    p50_s: float
    p99_s: float
    p999_s: float
    lost_share: float
    cost_per_day: float
    cost_per_day_following: float
    gpu_break_even_per_s: float


def smallest(profile: Profile, traffic: Traffic, demand: Demand, prices: Prices, requests: int = REQUESTS) -> Answer:
    """Find the fewest replicas, by bisection: the p99 falls with their number.

    Raises:
        Unreachable: a nearly idle fleet does not meet the demand.
    """
    rate = traffic.requests_per_s(profile.samples)
    low = math.ceil(rate / profile.capacity_per_s / MOST_LOAD) - 1  # does not meet it
    high = max(low + 1, math.ceil(rate / profile.capacity_per_s / LEAST_LOAD))
    found = _outcome(profile, traffic, demand, high, requests)
    if found.latency_s(0.99) > demand.p99_s:
        raise Unreachable(
            f"no fleet has a p99 of {demand.p99_s * 1000:g} ms: at a load of {LEAST_LOAD:.0%} it is "
            f"{found.latency_s(0.99) * 1000:.1f} ms; allow more, or ask for fewer samples a request"
        )
    while high - low > max(1, high // 200):  # to half a percent: the next simulation differs by as much
        middle = (low + high) // 2
        tried = _outcome(profile, traffic, demand, middle, requests)
        if tried.latency_s(0.99) <= demand.p99_s:
            high, found = middle, tried
        else:
            low = middle
    return _answer(profile, traffic, prices, high, found)


def _outcome(profile: Profile, traffic: Traffic, demand: Demand, replicas: int, requests: int) -> Outcome:
    """Simulate a fleet; of a larger one than `MOST_REPLICAS` a part with its part of the traffic."""
    chance = random.Random(replicas)  # noqa: S311 - a simulation, not a secret
    simulated = min(replicas, MOST_REPLICAS)
    rate = traffic.requests_per_s(profile.samples) * simulated / replicas
    fleet = Fleet(profile=profile, replicas=simulated, policy=demand.policy, balancers=demand.balancers)
    return simulate(fleet, islice(poisson(rate, chance), requests), replicas)


def _answer(profile: Profile, traffic: Traffic, prices: Prices, replicas: int, found: Outcome) -> Answer:
    rate = traffic.requests_per_s(profile.samples)
    cost = replicas * profile.cores * HOURS * prices.core_hour
    lost = found.refused + found.late
    per_core_s = rate * profile.samples / (replicas * profile.cores)
    return Answer(
        requests_per_s=rate,
        replicas=replicas,
        load=rate / (replicas * profile.capacity_per_s),
        p50_s=found.latency_s(0.5),
        p99_s=found.latency_s(0.99),
        p999_s=found.latency_s(0.999),
        lost_share=lost / (lost + len(found.latencies_s)),
        cost_per_day=cost,
        cost_per_day_following=cost / traffic.peak,
        gpu_break_even_per_s=per_core_s * prices.gpu_hour / prices.core_hour,
    )
