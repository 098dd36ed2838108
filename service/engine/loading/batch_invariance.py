"""Verifies a graph on this machine before it serves: its golden outputs, and the batch sizes that agree bit for bit.

    golden rows ─┬─ every candidate batch size, every slot, beside random rows ─▶ which sizes agree bit for bit
                 └─ replay in a size that serves ───────────────────────────────▶ within the tolerance, or refused

Kernels may compute a row differently in another batch size, and then the same seed would give other bytes under other
load. So the sizes that serve are chosen by trial, once, at loading. The choice depends on nothing but the graph, what
runs it and this module, so that replicas of one stack choose alike. Every further session of the graph, on other or on
more threads, has to repeat the bytes of the first.

A graph that answers integers alone (an item, the argmax of hidden scores) can pass the trial by chance: two batch sizes
whose scores differ in the last bit agree on every golden row, and differ at a seed whose two best items are nearly
tied. So `strict` serves it in one size: one sample at a time, on a device the largest batch.

A device hardly notices the batch, so there the largest size serves that gives the same bytes run after run, with the
sizes that agree with it: small batches take other kernels, agree with each other, and would outnumber the large ones.

Shapes: B batch.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.backends.base import LoadedGraph, Runner
from service.engine.config import CPU, OPENVINO, Reproducibility
from service.engine.loading.golden import (
    Replay,
    golden_count,
    largest_difference,
    limit_of,
    outputs_but_pixels,
    replay,
    tolerance_of,
)
from service.engine.loading.trials import (
    RANDOM_ROWS,
    RANDOM_RUNS,
    RANDOM_RUNS_OF_A_REPETITION,
    BatchSizeTrial,
    measure_run_s,
    try_size,
)
from service.engine.model_spec import GraphReport, GraphSpec, Tolerance
from service.engine.scheduling.batch_size import largest_batch
from service.errors import GraphRefused, NotReproducible

# Runs of each arrangement on a device, where kernels with atomic additions add up in another order from run to run. A
# large size has three arrangements; one that answers otherwise once in 30 runs passes them all with less than 1 %.
DEVICE_REPEATS = 50
# Threads that do not spin are woken for each operator of a run, some ten of them at some ten microseconds each.
WORTH_SPREADING_S = 200e-6
INTEGERS = frozenset({"UINT8", "INT64"})


@dataclass(frozen=True, slots=True)
class VerificationSpec:
    """What a graph is verified against.

    Attributes:
        spec: its stated tensors and golden vectors.
        tolerances: of the package.
        max_batch: the largest batch size to try; 0 leaves it to the device.
        mode: `strict` keeps sizes that agree bit for bit; `fast` those within the tolerance.
    """

    spec: GraphSpec
    tolerances: Sequence[Tolerance]
    max_batch: int
    mode: Reproducibility

    def sizes(self, provider: str) -> tuple[int, ...]:
        """The batch sizes to try, ascending: 1, 2, 4, … and the largest itself; none of a batch-coupled graph."""
        if self.spec.batch_coupled:
            return ()
        largest = largest_batch(self.max_batch, on_device=is_device(provider))
        if self.mode == "strict" and all(output.datatype in INTEGERS for output in self.spec.outputs):
            return (largest if is_device(provider) else 1,)
        return tuple(sorted({min(2**power, largest) for power in range(largest.bit_length() + 1)}))


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """What a verification showed.

    Attributes:
        trials: of the batch sizes that serve, ascending; none of a batch-coupled graph.
    """

    report: GraphReport
    trials: tuple[BatchSizeTrial, ...]

    @property
    def run_s(self) -> Mapping[int, float]:
        """Batch size → `BatchSizeTrial.run_s`."""
        return {trial.size: trial.run_s for trial in self.trials}

    @property
    def thread_s(self) -> Mapping[int, float]:
        """Batch size → `BatchSizeTrial.thread_s`."""
        return {trial.size: trial.thread_s for trial in self.trials}

    def sizes_to_spread(self, cores: int) -> tuple[int, ...]:
        """Batch sizes, ascending, that may be done sooner on all cores together than shared out between them.

        With as many samples as cores each core has one of its own; up to twice as many, some would have two and some
        one. A run that is over before other cores are awake is spread in no size.
        """
        if cores == 1 or not self.trials or self.trials[0].thread_s < WORTH_SPREADING_S:
            return ()
        return tuple(trial.size for trial in self.trials if trial.size < 2 * cores)

    def repeat(self, runner: Runner, spec: GraphSpec, sizes: Collection[int]) -> Mapping[int, float]:
        """Compare another runner of the same graph with the answers of the first.

        Args:
            runner: takes batches of the sizes.
            spec: as in the verification.
            sizes: some of those that serve.

        Returns:
            Fewest seconds of its runs, by batch size; empty if it answered any other bytes.
        """
        seconds = {}
        for first in (trial for trial in self.trials if trial.size in sizes):
            again = try_size(runner, spec, first.size, RANDOM_RUNS_OF_A_REPETITION)
            if again.answers != first.answers:
                return {}
            seconds[again.size] = again.run_s
        return seconds


def is_device(provider: str) -> bool:
    """Whether a graph is computed elsewhere than on the CPU."""
    return provider not in {CPU, OPENVINO}


def verify(
    session: LoadedGraph, verification: VerificationSpec, clock: Callable[[], float] = time.perf_counter
) -> VerificationResult:
    """Choose the batch sizes that serve, and replay the golden vectors in the largest of them.

    A batch-coupled graph has no sizes to choose: its golden rows are replayed together, as they were exported.

    Args:
        session: the graph, loaded for every size of the verification.
        verification: what it must show.
        clock: seconds, by which the runs of a device are timed.

    Raises:
        GoldenMismatch: the outputs differ from the golden ones by more than the tolerance.
        GraphRefused: golden tensors are not the stated ones, or logits depend on each other although the package does
            not say so.
        NotReproducible: no batch size can serve in `strict`.
    """
    spec, mode = verification.spec, verification.mode
    count = golden_count(session.graph, spec)
    tolerance = tolerance_of(session, verification.tolerances)
    if spec.batch_coupled:
        return VerificationResult(_report(session, spec, [], [], replay(session, spec, tolerance, count)), ())
    on_device = is_device(session.provider)
    repeats = DEVICE_REPEATS if on_device else 1
    trials = [
        try_size(session, spec, size, max(RANDOM_RUNS, RANDOM_ROWS // size), repeats)
        for size in verification.sizes(session.provider)
    ]
    _refuse_coupled_logits(trials, spec, session, tolerance)
    serving = _agreeing(trials, session) if mode == "strict" else _within_tolerance(trials, spec, tolerance)
    replayed = replay(session, spec, tolerance, serving[-1].size)
    if on_device:
        run_s = measure_run_s(session, spec, [trial.size for trial in serving], clock)
        for trial in serving:
            trial.run_s = run_s[trial.size]
    return VerificationResult(_report(session, spec, trials, serving, replayed), tuple(serving))


def _refuse_coupled_logits(
    trials: Sequence[BatchSizeTrial], spec: GraphSpec, session: LoadedGraph, tolerance: Tolerance
) -> None:
    """Refuse logits that depend on the other samples of their batch.

    Other graphs that do so are served one sample at a time; a discriminator was not trained to judge so.
    """
    for output in (output.name for output in spec.outputs if output.role == "logit"):
        change = max(
            largest_difference(trial.highest[place], trial.lowest[place])
            for trial in trials
            for place in trial.lowest
            if place[0] == output
        )
        if change > limit_of(spec, output, tolerance):
            raise GraphRefused(
                f"{session.graph}: the {output} of a sample changes by {change:.3g} with what is judged beside it; a "
                "discriminator with batch statistics must state batch_coupled: true"
            )


def _agreeing(trials: Sequence[BatchSizeTrial], session: LoadedGraph) -> list[BatchSizeTrial]:
    """The sizes that give a row the same bytes: those with the largest on a device, the most of them on a CPU.

    A CPU computes small batches about as cheaply as large ones, so of equally many the smaller win and pad least.
    """
    groups: dict[frozenset[tuple[int, bytes]], list[BatchSizeTrial]] = defaultdict(list)
    for trial in trials:
        if trial.is_steady:
            groups[trial.answers].append(trial)
    if not groups:
        raise NotReproducible(f"{session.graph}: no batch size gives the same sample twice; only `fast` could serve it")
    if is_device(session.provider):
        return max(groups.values(), key=lambda group: (group[-1].size, len(group)))
    return max(groups.values(), key=lambda group: (len(group), -group[-1].size))


def _within_tolerance(trials: Sequence[BatchSizeTrial], spec: GraphSpec, tolerance: Tolerance) -> list[BatchSizeTrial]:
    """The sizes whose answers stay within the golden tolerance, whatever their neighbours."""

    def is_within(trial: BatchSizeTrial) -> bool:
        return all(
            largest_difference(bound, spec.golden[output][row]) <= limit_of(spec, output, tolerance)
            for bounds in (trial.lowest, trial.highest)
            for (output, row), bound in bounds.items()
        )

    return [trial for trial in trials if is_within(trial)] or list(trials[:1])  # whose replay names what differs


def _report(
    session: LoadedGraph,
    spec: GraphSpec,
    trials: Sequence[BatchSizeTrial],
    serving: Sequence[BatchSizeTrial],
    replayed: Replay,
) -> GraphReport:
    return GraphReport(
        provider=session.provider,
        buckets=tuple(trial.size for trial in serving),
        reproducible=len({trial.answers for trial in serving}) == 1 and serving[0].is_steady,
        largest_deviation=_largest_deviation(trials, spec),
        golden_deviation=replayed.deviation,
        fingerprint=_fingerprint(session, serving),
        runtime=session.runtime,
        precision=session.precision,
        pixel_difference=replayed.pixel_difference,
    )


def _largest_deviation(trials: Sequence[BatchSizeTrial], spec: GraphSpec) -> float:
    if not trials:
        return 0.0
    return max(
        largest_difference(
            np.max([trial.highest[place] for trial in trials], axis=0),
            np.min([trial.lowest[place] for trial in trials], axis=0),
        )
        for place in trials[0].lowest
        if place[0] in outputs_but_pixels(spec)
    )


def _fingerprint(session: LoadedGraph, serving: Sequence[BatchSizeTrial]) -> str:
    """Hash the names of what computes a graph and, since they leave the processor open, its answers."""
    digest = hashlib.sha256(f"{session.runtime}\n{session.provider}\n{session.precision}\n".encode())
    for row, answer in sorted(frozenset().union(*(trial.answers for trial in serving))):
        digest.update(row.to_bytes(2, "big") + answer)
    return digest.hexdigest()
