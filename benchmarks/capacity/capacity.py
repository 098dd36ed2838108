"""How many replicas a traffic takes: the service's scheduler simulated, from measured service times.

theory   the simulation against queues that have a closed form
check    predictions against the running service, at one and at two replicas of one core
scale    fleets: balancing, bursts, caches, replicas and cost, from the profile that `check` measured
plan     one answer, printed as JSON, for the traffic and the prices that are given
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from math import log, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

from benchmarks import results, workplace
from benchmarks.capacity import check, scale, theory
from benchmarks.capacity.balancing import POLICIES
from benchmarks.capacity.plan import Demand, Prices, Traffic, Unreachable, smallest
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.simulation import Fleet, simulate
from benchmarks.load.arrivals import poisson
from benchmarks.results import Row
from service.engine.scheduling.scheduler import BatchLimits

STEPS: Final = ("theory", "check", "scale", "plan")
# Of the profile that fleets are simulated from.
SAMPLES: Final = 1
# Equally likely values of an exponential time of mean 1, whose moments are exact to a thousandth.
EXPONENTIAL: Final = tuple(-log(1 - (place + 0.5) / 10_000) for place in range(10_000))
REPETITIONS: Final = 16
REQUESTS, QUICK_REQUESTS = 20_000, 500


def queue(run_s: dict[int, tuple[float, ...]], servers: int = 1) -> Profile:
    """A replica without limits and without an event loop, so that it is a queue of the textbooks."""
    limits = BatchLimits(queue_samples=10**9, queue_wait_s=float("inf"))
    return Profile(
        samples=1, run_s=run_s, cores=servers, limits=limits, timeout_s=1e12, max_requests=10**9, costs_known=False
    )


# name: the queue, its arrivals a second, and its mean wait in closed form.
QUEUES: Final = {
    "M/M/1, load 0.6": (queue({1: EXPONENTIAL}), 0.6, theory.mm1_wait_s(0.6, 1)),
    "M/D/1, load 0.7": (queue({1: (1.0,)}), 0.7, theory.md1_wait_s(0.7, 1)),
    "M/M/3, load 0.7": (queue({1: EXPONENTIAL}, 3), 2.1, theory.mmc_wait_s(2.1, 1, 3)),
    "M/M/1 in batches of up to 4, load 0.6": (
        queue(dict.fromkeys(range(1, 5), EXPONENTIAL)),
        2.4,
        theory.bulk_wait_s(2.4, 1, 4),
    ),
}


def waits(profile: Profile, rate_per_s: float, requests: int, repetitions: int = REPETITIONS) -> tuple[float, float]:
    """Mean wait of a queue over independent simulations, and its standard error."""
    found = []
    for seed in range(repetitions):
        times = islice(poisson(rate_per_s, random.Random(seed)), requests)  # noqa: S311 - a simulation, not a secret
        found.append(simulate(Fleet(profile=profile), times, seed).mean_wait_s)
    return fmean(found), stdev(found) / sqrt(repetitions)


def _theory(asked: argparse.Namespace) -> Iterator[Row]:
    for name, (profile, rate, wait) in QUEUES.items():
        mean, error = waits(profile, rate, QUICK_REQUESTS if asked.quick else REQUESTS)
        yield {"queue": name, "theory": wait, "simulated": mean, "standard_error": error}


def main(arguments: list[str]) -> None:
    """Run the steps, and write what each found."""
    parser = workplace.parser("capacity", __doc__, "plan --samples-per-day 1e9 --p99-ms 50")
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help="theory, check, scale, plan; by default the first three"
    )
    parser.add_argument(
        "--rounds", type=int, default=check.Scope.rounds, help="of `check`; each takes about two minutes"
    )
    parser.add_argument(
        "--profile", type=Path, help="JSON file of another profile; its form is that of check's settings"
    )
    parser.add_argument("--samples-per-day", type=float, default=Traffic.samples_per_day)
    parser.add_argument("--peak", type=float, default=Traffic.peak, help="rate in the busiest time, of the mean rate")
    parser.add_argument("--hit-rate", type=float, default=Traffic.hit_rate, help="of caches, for `plan`")
    parser.add_argument("--p99-ms", type=float, default=Demand.p99_s * 1000, help="at most, in the busiest time")
    parser.add_argument("--policy", choices=POLICIES, default=Demand.policy, help="of the balancers")
    parser.add_argument("--balancers", type=int, default=Demand.balancers, help="that know nothing of each other")
    parser.add_argument("--core-hour", type=float, default=Prices.core_hour, help="price of a core for an hour")
    parser.add_argument("--gpu-hour", type=float, default=Prices.gpu_hour, help="price of a GPU for an hour")
    asked = parser.parse_args(arguments)
    steps = asked.steps or STEPS[:3]
    if unknown := set(steps) - set(STEPS):
        parser.error(f"there is no step {min(unknown)}; there are {', '.join(STEPS)}")
    folder = workplace.folder(asked)
    if "theory" in steps:
        rows = workplace.measured(_theory(asked), "queues", len(QUEUES))
        _written("capacity-theory", {"repetitions": REPETITIONS}, rows, folder)
    if "check" in steps:
        _check(asked, folder)
    if "scale" in steps or "plan" in steps:
        try:
            profile, where = _profile(asked, folder)
            traffic = Traffic(samples_per_day=asked.samples_per_day, peak=asked.peak, hit_rate=asked.hit_rate)
            demand = Demand(p99_s=asked.p99_ms / 1000, policy=asked.policy, balancers=asked.balancers)
            prices = Prices(core_hour=asked.core_hour, gpu_hour=asked.gpu_hour)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        if "scale" in steps:
            extent = scale.QUICK if asked.quick else scale.Extent()
            found = scale.rows(
                profile, Traffic(samples_per_day=traffic.samples_per_day, peak=traffic.peak), demand, prices, extent
            )
            rows = workplace.measured(found, "fleets", scale.count(extent))
            settings = {**asdict(traffic), **asdict(demand), **asdict(prices), "profile": where}
            settings |= {"capacity_per_s": profile.capacity_per_s, "samples": profile.samples}
            _written("capacity-scale", settings, rows, folder)
        if "plan" in steps:
            try:
                answer = smallest(profile, traffic, demand, prices)
            except Unreachable as error:
                sys.exit(str(error))
            sys.stdout.write(json.dumps(asdict(answer), indent=2) + "\n")


def _check(asked: argparse.Namespace, folder: Path) -> None:
    scope = check.QUICK if asked.quick else check.Scope(rounds=asked.rounds)
    profiles: dict[int, list[Profile]] = {}
    rows = workplace.measured(check.compare(scope, profiles), "windows", scope.windows)
    settings = {
        "network": check.NETWORK,
        "window_s": scope.window_s,
        "rounds": scope.rounds,
        "profiles": {str(samples): check.pooled(found).plain() for samples, found in profiles.items()},
    }
    _written("capacity-check", settings, rows, folder)


def _profile(asked: argparse.Namespace, folder: Path) -> tuple[Profile, str]:
    """The profile to simulate, and where it is from.

    Raises:
        ValueError: there is none, or it is not of the form.
        OSError: the file cannot be read.
    """
    if asked.profile is not None:
        return Profile.read(json.loads(asked.profile.read_text(encoding="utf-8"))), str(asked.profile)
    profiles = results.read("capacity-check", folder).settings.get("profiles")
    if not isinstance(profiles, dict) or not profiles:
        raise ValueError(
            f"{folder} has no profile; run `python -m benchmarks capacity check` first, or name a --profile"
        )
    return Profile.read(profiles.get(str(SAMPLES)) or next(iter(profiles.values()))), "capacity-check"


def _written(name: str, settings: dict[str, object], rows: list[Row], folder: Path) -> None:
    sys.stdout.write(f"{results.write(name, settings, rows, folder)}\n")
