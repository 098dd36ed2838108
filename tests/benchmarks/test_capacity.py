"""The simulation of a fleet: it agrees with theory where there is one, and with the service's own scheduler."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

import pytest

from benchmarks import results
from benchmarks.capacity import calibration, scale, theory
from benchmarks.capacity.balancing import POLICIES
from benchmarks.capacity.capacity import QUEUES, waits
from benchmarks.capacity.cdn import Catalogue, edges_hit_rate, lru_hit_rate, lru_simulated
from benchmarks.capacity.plan import Demand, Prices, Traffic, Unreachable, smallest
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.simulation import Fleet, Outcome, simulate
from benchmarks.load.arrivals import Bursts, bursty, poisson, until
from benchmarks.report import plots
from benchmarks.report.capacity import CAPACITY_TABLES
from service.engine.scheduling.scheduler import BatchLimits

REPETITIONS, REQUESTS = 10, 2500
# Standard errors that a mean may be away from theory: by chance in one of 15,000 cases.
ERRORS = 4
MILLISECONDS = {size: [1e-3 * (1 + size)] for size in (1, 2, 4, 8)}


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a simulation, not a secret


def poisson_times(rate_per_s: float, requests: int, seed: int) -> Iterator[float]:
    return islice(poisson(rate_per_s, chance(seed)), requests)


def loaded(fleet: Fleet, load: float, requests: int = 4000, seed: int = 0) -> Outcome:
    rate = load * fleet.replicas * fleet.profile.capacity_per_s
    return simulate(fleet, poisson_times(rate, requests, seed), seed)


@pytest.mark.parametrize("name", QUEUES)
def test_the_mean_wait_is_that_of_theory(name: str) -> None:
    profile, rate, wait = QUEUES[name]
    mean, error = waits(profile, rate, REQUESTS, REPETITIONS)
    assert error < 0.08 * wait, "too few requests to tell"
    assert abs(mean - wait) < ERRORS * error


def test_a_queue_that_grows_without_end_has_no_mean_wait() -> None:
    with pytest.raises(ValueError, match="grows without end"):
        theory.mm1_wait_s(1.0, 1.0)


def test_requests_in_the_fleet_are_their_rate_times_their_latency() -> None:
    fleet = Fleet(profile=Profile(samples=1, run_s=MILLISECONDS, request_s=2e-4, answer_s=1e-4), replicas=3)
    found = loaded(fleet, 0.6, 6000)
    rate = len(found.latencies_s) / found.seconds
    assert found.mean_in_system == pytest.approx(rate * fmean(found.latencies_s), rel=0.01)


def test_equal_seeds_give_equal_results_and_others_do_not() -> None:
    fleet = Fleet(profile=Profile(samples=2, run_s={2: [0.001, 0.003]}), replicas=2, policy="two choices")
    first, again, other = (loaded(fleet, 0.5, 500, seed).latencies_s for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_what_waits_runs_in_the_sizes_that_the_scheduler_chooses() -> None:
    profile = Profile(samples=3, run_s=MILLISECONDS)
    found = simulate(Fleet(profile=profile), [0.0, 0.001, 0.002], 0, warm_up=0)
    # Two of the first run until 3 ms, its last and the second's three until 8 ms, and then the third's in two runs.
    assert found.runs == {2: 2, 1: 1, 4: 1}
    assert found.latencies_s == pytest.approx([0.008, 0.008 - 0.001, 0.013 - 0.002])


def test_the_event_loop_takes_the_core_from_a_run() -> None:
    profile = Profile(samples=1, run_s={1: [0.010]}, request_s=0.002, answer_s=0.001, elsewhere_s=0.004)
    found = simulate(Fleet(profile=profile), [0.0, 0.005], 0, warm_up=0)
    # 2 ms to read it, 10 ms of run, 2 ms in which the second is read, 1 ms to answer it, 4 ms elsewhere.
    assert found.latencies_s[0] == pytest.approx(0.019)
    # Read until 7 ms, runs from 14 ms, while the first is answered; 1 ms to answer it, 4 ms elsewhere.
    assert found.latencies_s[1] == pytest.approx(0.014 + 0.011 + 0.001 + 0.004 - 0.005)
    assert profile.capacity_per_s == pytest.approx(1 / 0.013)


def test_an_event_loop_that_is_not_let_run_at_once_answers_later() -> None:
    prompt = Profile(samples=1, run_s={1: [0.010]}, request_s=0.001, answer_s=0.001)
    times = [0.0, 0.002, 0.004]
    found = [
        simulate(Fleet(profile=profile), times, 0, warm_up=0).latencies_s
        for profile in (prompt, replace(prompt, wake_s=[0.003]))
    ]
    # While the second runs the first one's answer waits; nothing runs when the last is answered.
    assert found[1][0] == pytest.approx(found[0][0] + 0.003)
    assert found[1][2] == pytest.approx(found[0][2])


def test_an_event_loop_that_waits_runs_as_soon_as_a_core_is_free() -> None:
    profile = Profile(samples=1, run_s={1: [0.010]}, request_s=0.001, wake_s=[1.0])
    found = simulate(Fleet(profile=profile), [0.0, 0.005], 0, warm_up=0)
    # The first runs from 1 to 11 ms; then the second is read, the first is answered, and the second runs.
    assert found.latencies_s == pytest.approx([0.012, 0.022 - 0.005])


def test_a_request_after_an_idle_time_takes_as_much_longer_as_was_measured_after_a_similar_one() -> None:
    pairs = [(0.001 + place * 1e-5, 0.002) for place in range(30)] + [
        (0.050 + place * 1e-4, 0.004) for place in range(30)
    ]
    profile = Profile(samples=1, run_s={1: [0.010]}, after_idle=pairs)
    found = simulate(Fleet(profile=profile), [0.0, 0.005, 0.025, 0.100], 0, warm_up=0)
    # The first of all, one that waits behind it, one after 1 ms, one after 63.
    assert found.latencies_s == pytest.approx([0.014, 0.014 + 0.010 - 0.005, 0.012, 0.014])


def test_more_than_the_queue_holds_is_refused_and_what_is_answered_is_soon() -> None:
    limits = BatchLimits(queue_samples=20)
    fleet = Fleet(profile=Profile(samples=1, run_s={1: [0.010]}, limits=limits))
    found = loaded(fleet, 3.0, 2000)
    assert found.refused > 1000
    assert max(found.latencies_s) <= 0.010 * 22
    assert found.latency_s(0.5) == float("inf")


def test_what_cannot_be_done_in_time_is_not_begun() -> None:
    fleet = Fleet(profile=Profile(samples=1, run_s={1: [0.010]}, timeout_s=0.050))
    found = simulate(fleet, poisson_times(300, 2000, 0), 0, warm_up=0)
    assert found.refused + found.late == 2000 - len(found.latencies_s)
    assert found.late > 100
    assert max(found.latencies_s) <= 0.050 + 1e-9
    assert found.runs.total() == len(found.latencies_s)


def test_a_policy_that_sees_more_is_faster_and_many_balancers_see_less() -> None:
    fleet = Fleet(profile=Profile(samples=1, run_s={1: [0.010]}), replicas=8)
    p99 = {policy: loaded(replace(fleet, policy=policy), 0.8).latency_s(0.99) for policy in POLICIES}
    assert p99["least outstanding"] < p99["two choices"] < p99["random"]
    assert p99["round robin"] < p99["random"]
    alone = replace(fleet, policy="least outstanding")
    assert loaded(replace(alone, balancers=16), 0.8).latency_s(0.99) > 1.2 * p99["least outstanding"]


def test_bursts_have_the_mean_rate_and_a_longer_tail() -> None:
    bursts = Bursts(ratio=3, share=0.25, mean_s=0.2)
    counts = [len(until(bursty(100, bursts, chance(seed)), 20.0)) for seed in range(40)]
    assert abs(fmean(counts) - 2000) < ERRORS * stdev(counts) / sqrt(len(counts))
    assert stdev(counts) > 3 * sqrt(2000)  # of a Poisson process
    fleet = Fleet(profile=Profile(samples=1, run_s={1: [0.005]}))
    steady = simulate(fleet, poisson_times(100, 4000, 0), 0)
    unsteady = simulate(fleet, until(bursty(100, bursts, chance(0)), 40.0), 0)
    assert unsteady.latency_s(0.99) > 3 * steady.latency_s(0.99)
    with pytest.raises(ValueError, match="no rate between bursts"):
        Bursts(ratio=6, share=0.25)


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.2])
def test_a_cache_answers_the_share_that_the_approximation_says(exponent: float) -> None:
    catalogue = Catalogue(10_000, exponent)
    simulated = lru_simulated(catalogue.draw(60_000, 1), 500)
    error = 1 / sqrt(30_000)
    assert abs(lru_hit_rate(catalogue, 500) - simulated) < ERRORS * error
    assert edges_hit_rate(catalogue, 50, 10, hashed=True) == lru_hit_rate(catalogue, 500)
    assert edges_hit_rate(catalogue, 50, 10, hashed=False) < lru_hit_rate(catalogue, 500)


def test_a_catalogue_of_a_thousand_million_samples_is_counted_whole() -> None:
    counts, popularity = Catalogue(10**9, 0.8).bins
    assert counts.sum() == 10**9
    assert counts @ popularity == pytest.approx(1)
    assert lru_hit_rate(Catalogue(10, 1.0), 10) == 1


def test_a_plan_has_the_fewest_replicas_that_meet_the_target() -> None:
    profile = Profile(samples=1, run_s=MILLISECONDS)
    traffic, prices = Traffic(samples_per_day=500e6, peak=2, hit_rate=0.5), Prices(core_hour=0.5, gpu_hour=5)
    answer = smallest(profile, traffic, Demand(p99_s=0.02), prices, requests=4000)
    assert answer.requests_per_s == pytest.approx(500e6 / 86_400)
    fewer = Fleet(profile=profile, replicas=answer.replicas - 1, policy="two choices", balancers=8)
    times = poisson_times(answer.requests_per_s, 4000, answer.replicas - 1)
    too_late = simulate(fewer, times, answer.replicas - 1).latency_s(0.99) > 0.02
    assert too_late or answer.requests_per_s / (fewer.replicas * profile.capacity_per_s) > 0.9
    assert answer.p99_s <= 0.02
    assert answer.cost_per_day == answer.replicas * 24 * 0.5
    assert answer.cost_per_day_following == answer.cost_per_day / 2
    assert answer.gpu_break_even_per_s == pytest.approx(answer.requests_per_s / answer.replicas * 10)
    with pytest.raises(Unreachable, match="allow more"):
        smallest(profile, traffic, Demand(p99_s=0.001), prices, requests=1000)
    for wrong in (lambda: Traffic(hit_rate=1.0), lambda: Demand(p99_s=0), lambda: Prices(core_hour=0)):
        with pytest.raises(ValueError, match=r"below 1|above 0|more than 0"):
            wrong()


def test_every_table_and_plot_of_fleets_has_its_rows(tmp_path: Path) -> None:
    profile, traffic, demand = Profile(samples=1, run_s=MILLISECONDS), Traffic(samples_per_day=20e6), Demand()
    rows = list(scale.rows(profile, traffic, demand, Prices(), scale.QUICK))
    assert len(rows) == scale.count(scale.QUICK)
    settings = {**asdict(traffic), **asdict(demand), **asdict(Prices()), "samples": 1, "capacity_per_s": 500.0}
    results.write("capacity-scale", settings, rows, tmp_path)
    pages = {name: list(write(tmp_path)) for name, write in CAPACITY_TABLES.items()}
    assert any("| 8 | two choices |" in line for line in pages["capacity-policies"])
    assert all(len(pages[f"capacity-{name}"]) > 2 for name in ("arrivals", "replicas", "caches", "day", "assumptions"))
    assert [path.stem for path in plots.draw(tmp_path)] == [
        "capacity-replicas",
        "capacity-policies",
        "capacity-caches",
    ]


def test_a_profile_is_read_as_it_was_written() -> None:
    profile = Profile(
        samples=8, run_s={8: [0.01]}, cores=2, request_s=1e-4, after_idle=((0.1, -1e-3),), wake_s=(0.0, 1e-3)
    )
    plain = json.loads(json.dumps(profile.plain()))
    assert Profile.read(plain).plain() == profile.plain()
    for broken in ({}, {**plain, "run_s": {}}, {**plain, "cores": 0}, {**plain, "request_s": "soon"}):
        with pytest.raises(ValueError, match="profile"):
            Profile.read(broken)


def test_replicas_that_differ_in_the_largest_batch_that_pays_share_the_sizes_that_both_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def measured(*_: object) -> list[Profile]:
        return [
            Profile(samples=1, run_s=run_s) for run_s in ({1: (0.1,), 16: (0.3,), 32: (0.5,)}, {1: (0.2,), 16: (0.4,)})
        ]

    monkeypatch.setattr(calibration, "_all", measured)
    profile = calibration.calibrate([], 1, calibration.Effort())
    assert profile.run_s == {1: (0.1, 0.2), 16: (0.3, 0.4)}
