"""Tables of the capacity model: held against theory and against the service, and what fleets it says are needed."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.capacity.plan import DAY_S
from benchmarks.capacity.profile import Profile
from benchmarks.report.figures import MILLI, MISSING, At, figure, number, of, where
from benchmarks.results import Found, Row, chosen, numbers, quantile, read, spread

Lines = Iterator[str]
CHECK, SCALE, THEORY = "capacity-check", "capacity-scale", "capacity-theory"
# Largest deviation of a prediction that counts as right.
TOLERANCE: Final = 0.2
MICRO: Final = 1e-6
MILLION: Final = 1e6
# Idle times of the tables, in seconds: from and below.
IDLE_S: Final = ((0.0, 2e-3), (2e-2, 1.0))
# Loads of the tables; the plots have all.
SHOWN: Final = (0.3, 0.5, 0.7, 0.9)


def cases(found: Found) -> list[At]:
    """What was compared, in the order in which it was measured."""
    keys = ("samples", "replicas", "policy", "load")
    return [
        dict(zip(keys, each, strict=True)) for each in dict.fromkeys(tuple(row[k] for k in keys) for row in found.rows)
    ]


def deviations(found: Found, at: At, quantile_name: str) -> list[float]:
    """For each window, by how much of the measured quantile the predicted one is above it."""
    rows = list(chosen(found.rows, **at))
    return [number(row, f"predicted_{quantile_name}_s") / number(row, f"{quantile_name}_s") - 1 for row in rows]


def _theory(folder: Path) -> Lines:
    """Mean waits of queues with a closed form."""
    yield "| queue | closed form | simulated | standard error | deviation, in standard errors |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row in read(THEORY, folder).rows:
        wait, mean, error = (number(row, key) for key in ("theory", "simulated", "standard_error"))
        yield f"| {row['queue']} | {wait:.3f} | {mean:.3f} | {error:.3f} | {(mean - wait) / error:+.1f} |"


def _profile(folder: Path) -> Lines:
    """What was measured of one replica."""
    found = read(CHECK, folder)
    profiles = found.settings.get("profiles")
    if not isinstance(profiles, Mapping) or not profiles:
        yield "*Not measured so far.*"
        return
    heads = (
        "runs: batch size, ms, median (10th to 90th percentile)",
        "after an idle time below 2 ms, above 20",
        "event loop",
        "elsewhere",
        "wait for the core",
    )
    yield f"| a request of | {' | '.join(heads)} |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for samples, plain in sorted(profiles.items()):
        profile = Profile.read(plain)
        runs = ", ".join(
            f"{size}: {quantile(seconds, 0.5) / MILLI:.2f} "
            f"({quantile(seconds, 0.1) / MILLI:.2f}–{quantile(seconds, 0.9) / MILLI:.2f})"
            for size, seconds in profile.run_s.items()
        )
        loop = (profile.request_s + profile.answer_s) / MICRO
        idle = ", ".join(
            f"{spread(found).median:+.2f}" if found else MISSING
            for found in (_after_idle_ms(profile, *edges) for edges in IDLE_S)
        )
        wakes = [quantile(profile.wake_s, share) / MILLI for share in (0.5, 0.9)]
        yield (
            f"| {samples} | {runs} | {idle} ms | {loop:.0f} µs "
            f"| {profile.elsewhere_s / MILLI:.2f} ms | {wakes[0]:.2f} ms, 90th percentile {wakes[1]:.2f} |"
        )


def _after_idle_ms(profile: Profile, low_s: float, high_s: float) -> list[float]:
    return [more_s / MILLI for idle_s, more_s in profile.after_idle if low_s <= idle_s < high_s]


def _check(folder: Path) -> Lines:
    """Measured and predicted latencies, and by how much these differ."""
    found = read(CHECK, folder)
    heads = "measured p50", "predicted", "deviation", "measured p99", "predicted", "deviation"
    yield f"| samples, replicas | balancer | load | {' | '.join(heads)} |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for at in cases(found):
        cells = []
        for name in ("p50", "p99"):
            cells += [of(found.rows, f"{kind}{name}_s", at, MILLI, 1) for kind in ("", "predicted_")]
            cells.append(_percent(deviations(found, at, name)))
        policy = at["policy"] if at["replicas"] != 1 else MISSING
        yield f"| {at['samples']}, {at['replicas']} | {policy} | {float(str(at['load'])):.0%} | {' | '.join(cells)} |"


def _verdict(folder: Path) -> Lines:
    """How many predictions are within the tolerance, and on what machine."""
    found = read(CHECK, folder)
    if not found.rows:
        yield "*Not measured so far.*"
        return
    for name in ("p50", "p99"):
        windows = [abs(each) for at in cases(found) for each in deviations(found, at, name)]
        medians = [abs(spread(deviations(found, at, name)).median) for at in cases(found)]
        right = sum(each <= TOLERANCE for each in medians), sum(each <= TOLERANCE for each in windows)
        yield (
            f"- {name}: {right[0]} of {len(medians)} loads are predicted within {TOLERANCE:.0%} by the median of their "
            f"windows, {right[1]} of {len(windows)} windows by themselves; the median deviation of a window is "
            f"{spread(windows).median:.0%}, the largest {max(windows):.0%}."
        )
    ratios = [number(row, "predicted_capacity_per_s") / number(row, "capacity_per_s") - 1 for row in found.rows]
    foreign, averages = numbers(found.rows, "foreign_cores"), numbers(found.rows, "load_average")
    yield f"- Capacity (predicted against a closed loop): {_percent(ratios)}."
    yield (
        f"- {where(found)}. Other processes used {figure(foreign, 2)} cores in a window; the load average was "
        f"{figure(averages, 1)}; the generator sent 99 % of its requests within "
        f"{figure([each / MILLI for each in numbers(found.rows, 'generator_lag_p99_s')], 2)} ms of when they were due."
    )


def _policies(folder: Path) -> Lines:
    """The p99 by balancing policy."""
    found = read(SCALE, folder)
    yield f"| balancers | policy | {' | '.join(f'p99 at {load:.0%}, ms' for load in SHOWN)} |"
    yield "| ---: | --- |" + " ---: |" * len(SHOWN)
    keys = dict.fromkeys((row["balancers"], row["policy"]) for row in chosen(found.rows, table="policies"))
    for balancers, policy in keys:
        at: At = {"table": "policies", "balancers": balancers, "policy": policy}
        cells = [of(found.rows, "p99_s", {**at, "load": load}, MILLI, 1) for load in SHOWN]
        yield f"| {balancers} | {policy} | {' | '.join(cells)} |"


def _arrivals(folder: Path) -> Lines:
    """Latency and refusals by arrival process."""
    found = read(SCALE, folder)
    yield "| arrivals | load | p50 ms | p99 ms | p99.9 ms | mean batch | refused or late |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in chosen(found.rows, table="arrivals"):
        if row["load"] not in SHOWN:
            continue
        times = " | ".join(_ms(row[f"p{name}_s"]) for name in ("50", "99", "999"))
        load, batch, lost = (number(row, key) for key in ("load", "mean_batch", "lost_share"))
        yield f"| {row['arrivals']} | {load:.0%} | {times} | {batch:.1f} | {lost:.1%} |"


def _replicas(folder: Path) -> Lines:
    """The most traffic of fleets, by target."""
    found = read(SCALE, folder)
    rows = list(chosen(found.rows, table="replicas"))
    sizes = list(dict.fromkeys(row["replicas"] for row in rows))
    yield (
        f"| p99 at most | {' | '.join(f'{size} replicas' for size in sizes)} |"
        if sizes
        else "| p99 at most | replicas |"
    )
    yield "| --- |" + " ---: |" * max(1, len(sizes))
    for target in dict.fromkeys(row["p99_target_s"] for row in rows):
        cells = []
        for size in sizes:
            (row,) = chosen(rows, p99_target_s=target, replicas=size)
            cells.append(f"{number(row, 'samples_per_s'):,.0f} ({number(row, 'load'):.0%})")
        yield f"| {_ms(target, 0)} ms | {' | '.join(cells)} |"


def _caches(folder: Path) -> Lines:
    """Hit rates and what is left for the replicas."""
    found = read(SCALE, folder)
    heads = "hit rate", "replicas", "a day", "hit rate", "replicas", "a day"
    yield f"| exponent | an edge holds | {' | '.join([*heads[:3], *(f'hashed: {head}' for head in heads[3:])])} |"
    yield "| ---: | ---: |" + " ---: |" * len(heads)
    rows = list(chosen(found.rows, table="caches"))
    for exponent, held in dict.fromkeys((row["exponent"], row["held"]) for row in rows):
        cells: list[str] = []
        for hashed in (False, True):
            (row,) = chosen(rows, exponent=exponent, held=held, hashed=hashed)
            cells += [f"{number(row, 'hit_rate'):.1%}", *_fleet(row)]
        yield f"| {exponent} | {float(str(held)):.2%} | {' | '.join(cells)} |"


def _day(folder: Path) -> Lines:
    """Fleets for the whole traffic, without a cache."""
    found = read(SCALE, folder)
    heads = "replicas", "load", "p50 ms", "p99 ms", "p99.9 ms", "a day", "following the rate", "a million samples"
    yield f"| p99 at most | {' | '.join(heads)} | a GPU pays from |"
    yield "| --- |" + " ---: |" * (len(heads) + 1)
    millions = float(str(found.settings.get("samples_per_day", 0))) / MILLION
    for row in chosen(found.rows, table="day"):
        target = f"{_ms(row['p99_target_s'], 0)} ms"
        if row["replicas"] is None:
            yield f"| {target} | no fleet |" + " |" * len(heads)
            continue
        times = " | ".join(_ms(row[f"p{name}_s"]) for name in ("50", "99", "999"))
        cost, following = number(row, "cost_per_day"), number(row, "cost_per_day_following")
        yield (
            f"| {target} | {row['replicas']:,} | {number(row, 'load'):.0%} | {times} | {cost:,.2f} | {following:,.2f} "
            f"| {cost / millions:.4f} | {number(row, 'gpu_break_even_per_s'):,.0f} samples/s |"
        )


def _assumptions(folder: Path) -> Lines:
    """What the fleets were computed for."""
    settings = read(SCALE, folder).settings
    if not settings:
        yield "*Not computed so far.*"
        return
    wanted = "samples_per_day", "peak", "core_hour", "gpu_hour", "capacity_per_s"
    per_day, peak, core, gpu, capacity = (float(str(settings[key])) for key in wanted)
    yield f"- {per_day:,.0f} samples a day, {settings['samples']} a request: {per_day / DAY_S:,.0f}/s on average."
    yield f"- In the busiest time {peak:g} times the mean rate."
    yield f"- {settings['balancers']} balancers, policy: {settings['policy']}."
    yield f"- A core costs {core:g} an hour, a GPU {gpu:g}."
    yield f"- A replica is one core, with a capacity of {capacity:,.0f} requests a second by the measured profile."


def _fleet(row: Row) -> list[str]:
    if row.get("replicas") is None:
        return [MISSING, MISSING]
    return [f"{row['replicas']:,}", f"{number(row, 'cost_per_day'):,.2f}"]


def _ms(seconds: object, digits: int = 1) -> str:
    return f"{float(seconds) / MILLI:,.{digits}f}" if isinstance(seconds, int | float) else MISSING


def _percent(shares: list[float]) -> str:
    found = spread(shares)
    return f"{found.median:+.0%} ({found.least:+.0%} to {found.most:+.0%})"


CAPACITY_TABLES: Final[Mapping[str, Callable[[Path], Lines]]] = {
    "capacity-theory": _theory,
    "capacity-profile": _profile,
    "capacity-check": _check,
    "capacity-verdict": _verdict,
    "capacity-policies": _policies,
    "capacity-arrivals": _arrivals,
    "capacity-replicas": _replicas,
    "capacity-caches": _caches,
    "capacity-assumptions": _assumptions,
    "capacity-day": _day,
}
