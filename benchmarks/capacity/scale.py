"""Tables of fleets: what balancers, arrivals, caches and the number of replicas do to the tail, and what it costs.

Every row is simulated from one measured profile; each has a seed of its own, so that the rows repeat.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Final

from benchmarks.capacity.balancing import POLICIES
from benchmarks.capacity.cdn import Catalogue, edges_hit_rate
from benchmarks.capacity.plan import LEAST_LOAD, MOST_LOAD, Demand, Prices, Traffic, Unreachable, smallest
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.simulation import Fleet, Outcome, simulate
from benchmarks.load.arrivals import Bursts, bursty, poisson, until
from benchmarks.results import Row

FLEET: Final = 16
BALANCERS: Final = (1, 8)
BURSTS: Final = Bursts(ratio=3.0, share=0.2, mean_s=0.2)
# Different samples that are asked for, and what an edge holds of them.
OBJECTS: Final = 10**8
EDGES: Final = 20
SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How many rows, and how long each is simulated.

    Attributes:
        loads: shares of a fleet's capacity.
        sizes: replicas of the fleets whose greatest traffic is looked for.
        p99_s: targets.
        exponents: of Zipf's law.
        held: shares of the catalogue that an edge holds.
        requests: of each simulation.
        burst_s: seconds of each simulation of bursts.
        halvings: of the interval in which the greatest load is.
    """

    loads: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    sizes: Sequence[int] = (1, 2, 4, 8, 16, 32)
    p99_s: Sequence[float] = (0.01, 0.015, 0.025)
    exponents: Sequence[float] = (0.7, 0.9, 1.1)
    held: Sequence[float] = (0.0001, 0.001, 0.01)
    requests: int = 20_000
    burst_s: float = 20.0
    halvings: int = 5


QUICK: Final = Extent(
    loads=(0.3, 0.7), sizes=(1, 2), p99_s=(0.1,), exponents=(0.9,), held=(0.01,), requests=1000, burst_s=1.0, halvings=2
)


def rows(profile: Profile, traffic: Traffic, demand: Demand, prices: Prices, extent: Extent) -> Iterator[Row]:
    """Simulate every table; each row's `table` says to which it belongs."""
    yield from _balanced(profile, extent)
    yield from _arriving(profile, demand, extent)
    yield from _growing(profile, demand, extent)
    yield from _cached(profile, traffic, demand, prices, extent)
    yield from _targeted(profile, traffic, demand, prices, extent)


def count(extent: Extent) -> int:
    """How many rows there are."""
    each = len(extent.loads) * (len(POLICIES) * len(BALANCERS) + 2), len(extent.sizes) * len(extent.p99_s)
    return sum(each) + len(extent.exponents) * len(extent.held) * 2 + len(extent.p99_s)


def _balanced(profile: Profile, extent: Extent) -> Iterator[Row]:
    for balancers in BALANCERS:
        for policy in POLICIES:
            fleet = Fleet(profile=profile, replicas=FLEET, policy=policy, balancers=balancers)
            for load in extent.loads:
                found = _steady(fleet, load, extent.requests)
                yield {
                    "table": "policies", "policy": policy, "balancers": balancers, "replicas": FLEET, "load": load,
                    **_latencies(found),
                }  # fmt: skip


def _arriving(profile: Profile, demand: Demand, extent: Extent) -> Iterator[Row]:
    fleet = Fleet(profile=profile, replicas=FLEET, policy=demand.policy, balancers=demand.balancers)
    capacity = FLEET * profile.capacity_per_s
    for load in extent.loads:
        yield {
            "table": "arrivals",
            "arrivals": "Poisson",
            "load": load,
            **_latencies(_steady(fleet, load, extent.requests)),
        }
        times = until(bursty(load * capacity, BURSTS, _chance()), extent.burst_s)
        yield {"table": "arrivals", "arrivals": "bursts", "load": load, **_latencies(simulate(fleet, times, SEED))}


def _growing(profile: Profile, demand: Demand, extent: Extent) -> Iterator[Row]:
    for target_s in extent.p99_s:
        for size in extent.sizes:
            fleet = Fleet(profile=profile, replicas=size, policy=demand.policy, balancers=demand.balancers)
            low, high = 0.0, MOST_LOAD
            if _steady(fleet, MOST_LOAD, extent.requests).latency_s(0.99) <= target_s:
                low = MOST_LOAD
            elif _steady(fleet, LEAST_LOAD, extent.requests).latency_s(0.99) <= target_s:
                for _ in range(extent.halvings):
                    middle = (low + high) / 2
                    within = _steady(fleet, middle, extent.requests).latency_s(0.99) <= target_s
                    low, high = (middle, high) if within else (low, middle)
            yield {
                "table": "replicas", "p99_target_s": target_s, "replicas": size, "load": low,
                "samples_per_s": low * size * profile.capacity_per_s * profile.samples,
            }  # fmt: skip


def _cached(profile: Profile, traffic: Traffic, demand: Demand, prices: Prices, extent: Extent) -> Iterator[Row]:
    for hashed in (False, True):
        for exponent in extent.exponents:
            for held in extent.held:
                objects = max(1, int(held * OBJECTS))
                hit_rate = edges_hit_rate(Catalogue(OBJECTS, exponent), objects, EDGES, hashed=hashed)
                met: Row = {"hit_rate": hit_rate}
                if hit_rate < 1:
                    missed = Traffic(samples_per_day=traffic.samples_per_day, peak=traffic.peak, hit_rate=hit_rate)
                    met |= _answer(profile, missed, demand, prices, extent)
                yield {"table": "caches", "exponent": exponent, "held": held, "hashed": hashed, **met}


def _targeted(profile: Profile, traffic: Traffic, demand: Demand, prices: Prices, extent: Extent) -> Iterator[Row]:
    for target_s in extent.p99_s:
        wanted = Demand(p99_s=target_s, policy=demand.policy, balancers=demand.balancers)
        yield {"table": "day", "p99_target_s": target_s, **_answer(profile, traffic, wanted, prices, extent)}


def _answer(profile: Profile, traffic: Traffic, demand: Demand, prices: Prices, extent: Extent) -> Row:
    try:
        return asdict(smallest(profile, traffic, demand, prices, extent.requests))
    except Unreachable:
        return {"replicas": None}


def _steady(fleet: Fleet, load: float, requests: int) -> Outcome:
    rate = load * fleet.replicas * fleet.profile.capacity_per_s
    return simulate(fleet, islice(poisson(rate, _chance()), requests), SEED)


def _latencies(found: Outcome) -> Row:
    lost = found.refused + found.late
    quantiles = {f"p{name}_s": _finite(found.latency_s(share)) for name, share in _QUANTILES.items()}
    return {**quantiles, "lost_share": lost / (lost + len(found.latencies_s)), "mean_batch": found.mean_batch}


def _finite(seconds: float) -> float | None:
    """None in place of infinity, which JSON does not have."""
    return seconds if seconds < float("inf") else None


def _chance() -> random.Random:
    return random.Random(SEED)  # noqa: S311 - a simulation, not a secret


_QUANTILES: Final = {"50": 0.5, "99": 0.99, "999": 0.999}
