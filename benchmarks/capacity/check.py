"""Holds predictions against the service: one replica, and two of one core each behind a balancer in the generator.

    each round, in turn:  calibrate ─▶ capacity ─▶ open loop at 30, 50 and 70 % of it ─▶ the same arrivals, simulated

A window is predicted from what was calibrated just before it, and from the times at which its requests were due; no
latency of a window, and nothing but the calibration, enters its prediction.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.capacity.balancing import POLICIES
from benchmarks.capacity.calibration import Effort, Target, calibrate, generating, saturated_per_s, summary
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.simulation import Fleet, simulate
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.load import usage
from benchmarks.load.arrivals import poisson, until
from benchmarks.load.open_loop import send
from benchmarks.results import Row, quantile
from benchmarks.workplace import LOGS

NETWORK: Final = "g28"
LOADS: Final = (0.3, 0.5, 0.7)
# Of the simulation of one window; the prediction is their median.
SEEDS: Final = 5
GENERATOR_CORE, FIRST_CORE = 0, 1
# Of the services, below 0: a replica has its core to itself, which on a shared machine others would take in part.
NICE: Final = -20


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is compared.

    Attributes:
        samples: of a request.
        policies: of the balancer, one after the other.
        replicas: of one core each. One is on core 1 and the generator on core 0; two have a core each, and the
            generator is on both.
    """

    samples: int
    replicas: int = 1
    policies: Sequence[str] = ("random",)

    @property
    def windows(self) -> int:
        """How many loads are measured in a round."""
        return len(LOADS) * len(self.policies)


CASES: Final = (
    Case(samples=8),
    Case(samples=8, replicas=2, policies=("random", "least outstanding")),
    Case(samples=1),
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is compared.

    Attributes:
        rounds: of everything.
        window_s: of each load.
        effort: of each calibration.
        cases: in each round.
    """

    rounds: int = 4
    window_s: float = 10.0
    effort: Effort = field(default_factory=Effort)
    cases: Sequence[Case] = CASES

    @property
    def windows(self) -> int:
        """How many there are in all."""
        return self.rounds * sum(case.windows for case in self.cases)


QUICK: Final = Scope(
    rounds=1,
    window_s=1.0,
    effort=Effort(requests=8, probes=8, pauses=8, saturated_s=0.5),
    cases=(Case(samples=1), Case(samples=8, replicas=2)),
)


def compare(scope: Scope, profiles: dict[int, list[Profile]]) -> Iterator[Row]:
    """Measure and predict.

    Args:
        scope: how much.
        profiles: samples of a request → the calibrations of one replica; filled on the way.

    Yields:
        For each window its load, the latencies measured and predicted, and what else the machine did.
    """
    for turn in range(scope.rounds):
        with ExitStack() as running:
            cores = [FIRST_CORE, GENERATOR_CORE][: max(case.replicas for case in scope.cases)]
            targets = [running.enter_context(_Replica(core)).target for core in cores]
            for case in scope.cases:
                yield from _compare(case, targets[: case.replicas], turn, scope, profiles)


class _Replica:
    """The service on one core; leaving the block ends it."""

    def __init__(self, core: int) -> None:
        setting, port = Setting(network=NETWORK, core=core), free_port()
        launch = OURS.launch(setting, port)
        first = ["nice", "-n", str(NICE), *launch.command]  # says so in the log where that is not permitted
        launch = replace(launch, command=first, log=LOGS / f"replica-{core}.log")
        self._server = Server(launch)
        with suppress(OSError):  # where Linux does not group by session, the command's own is what counts
            Path(f"/proc/{self._server.pid}/autogroup").write_text(str(NICE), encoding="ascii")
        self._work = OURS.work(setting, port, 1)
        self.target = Target(self._server.pid, port, NETWORK)

    def __enter__(self) -> "_Replica":
        try:
            self._server.first_answer(self._work)
        except BaseException as error:
            self._server.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)


def _compare(
    case: Case, targets: Sequence[Target], turn: int, scope: Scope, profiles: dict[int, list[Profile]]
) -> Iterator[Row]:
    cores = [GENERATOR_CORE] if case.replicas == 1 else [GENERATOR_CORE, FIRST_CORE]
    with generating(cores):
        profile = calibrate(targets, case.samples, scope.effort)
        limit_per_s = saturated_per_s(targets, case.samples, scope.effort)
    if case.replicas == 1:
        profiles.setdefault(case.samples, []).append(profile)
    works = [target.work(case.samples) for target in targets]
    for policy in case.policies:
        for load in LOADS:
            seed = f"{turn} {case.samples} {case.replicas} {load}"  # equal arrivals for each policy
            chance = random.Random(seed)  # noqa: S311 - a load, not a secret
            due = until(poisson(load * limit_per_s, chance), scope.window_s)
            before = [usage.read(target.pid) for target in targets]
            cpu_s, began_s = time.process_time(), time.monotonic()
            with generating(cores) as first:
                answered = send(works, due, POLICIES[policy](chance))
            cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began_s
            after = [usage.read(target.pid) for target in targets]
            server_s = sum(now.server_s - then.server_s for then, now in zip(before, after, strict=True))
            machine_s = after[-1].machine_s - before[0].machine_s
            measured_s = [each.took_s for each in answered]
            fleet = Fleet(profile=profile, replicas=case.replicas, policy=policy)
            yield {
                "case": f"{case.samples} samples, {case.replicas} replicas",
                "samples": case.samples,
                "replicas": case.replicas,
                "policy": policy if case.replicas > 1 else "none",
                "load": load,
                "round": turn,
                "requests": len(due),
                "capacity_per_s": limit_per_s,
                "predicted_capacity_per_s": case.replicas * profile.capacity_per_s,
                "p50_s": quantile(measured_s, 0.5),
                "p99_s": quantile(measured_s, 0.99),
                **predict(fleet, due),
                "largest_run": profile.sizer.largest,
                **summary(profile),
                "generator_lag_p99_s": quantile([each.sent_s for each in answered], 0.99),
                "generator_first": first,
                "generator_cores": cpu_s / wall_s,
                "server_cores": server_s / wall_s,
                "foreign_cores": max(0.0, (machine_s - server_s - cpu_s) / wall_s),
                "load_average": os.getloadavg()[0],
            }


def predict(fleet: Fleet, due: Sequence[float]) -> Row:
    """Latencies that the simulation predicts for these arrivals; p50 and p99 are medians over seeds."""
    found = [simulate(fleet, due, seed, warm_up=0) for seed in range(SEEDS)]
    p99_s = [each.latency_s(0.99) for each in found]
    return {
        "predicted_p50_s": median(each.latency_s(0.5) for each in found),
        "predicted_p99_s": median(p99_s),
        "predicted_p99_least_s": min(p99_s),
        "predicted_p99_most_s": max(p99_s),
    }


def pooled(calibrations: Sequence[Profile]) -> Profile:
    """One profile from several calibrations of equal requests; of the batch sizes that are in all of them."""
    sizes = set.intersection(*(set(each.run_s) for each in calibrations))
    return replace(
        calibrations[0],
        run_s={size: tuple(s for each in calibrations for s in each.run_s[size]) for size in sorted(sizes)},
        request_s=median(each.request_s for each in calibrations),
        answer_s=median(each.answer_s for each in calibrations),
        after_idle=tuple(sorted(pair for each in calibrations for pair in each.after_idle)),
        wake_s=tuple(seconds for each in calibrations for seconds in each.wake_s),
        elsewhere_s=median(each.elsewhere_s for each in calibrations),
    )
