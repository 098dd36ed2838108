"""Verifies a graph on this machine before it serves: its golden outputs, and the batch sizes that agree bit for bit.

    golden rows ─┬─ every candidate batch size, every slot, beside random rows ─▶ which sizes agree bit for bit
                 └─ replay in a size that serves ───────────────────────────────▶ within the tolerance, or refused

Kernels may compute a row differently in another batch size, and then the same seed would give other bytes under other
load. So the sizes that serve are chosen by trial, once, at loading. The choice depends on nothing but the graph, what
runs it and this module, so that replicas of one stack choose alike. Every further session of the graph, on other or on
more threads, has to repeat the bytes of the first.

A graph that answers integers alone (an item, the argmax of hidden scores) can pass the trial by chance: two batch sizes
whose scores differ in the last bit agree on every golden row, and differ at a seed whose two best items are nearly
tied. So `strict` serves it one sample at a time.

Shapes: B batch.
"""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.backends.base import LoadedGraph, Runner
from service.engine.config import CUDA, Reproducibility
from service.engine.loading.golden import (
    Replay,
    golden_count,
    largest_difference,
    limit_of,
    outputs_but_pixels,
    replay,
    tolerance_of,
)
from service.engine.model_spec import Array, GraphReport, GraphSpec, Outputs, Tolerance
from service.errors import GraphRefused

# Golden rows tried in every batch size.
PROBE_ROWS = 7
# At least so many runs and so many rows of each batch size stand beside random rows. A further session of the graph
# needs fewer: that rows are independent of each other is known from the first.
RANDOM_RUNS = 2
RANDOM_ROWS = 32
RANDOM_RUNS_OF_A_REPETITION = 1
# Threads that do not spin are woken for each operator of a run, some ten of them at some ten microseconds each.
WORTH_SPREADING_S = 200e-6
INTEGERS = frozenset({"UINT8", "INT64"})


@dataclass(slots=True)
class BatchSizeTrial:
    """What one batch size answered for the golden rows, over all slots and neighbours.

    Attributes:
        run_s: fewest seconds of a run.
        thread_s: fewest seconds of the calling thread's processor time of a run; for a session of one thread, the cost
            of a run whatever else the machine does.
        hashes: golden row → one hash per different answer.
        lowest: by (output, golden row), elementwise over all answers.
        highest: by (output, golden row), elementwise over all answers.
    """

    size: int
    run_s: float = math.inf
    thread_s: float = math.inf
    hashes: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    lowest: dict[tuple[str, int], Array] = field(default_factory=dict)
    highest: dict[tuple[str, int], Array] = field(default_factory=dict)

    def record(self, row: int, answer: Outputs) -> None:
        """Record the answer for a golden row."""
        content = b"".join(values.tobytes() for values in answer.values())
        self.hashes[row].add(hashlib.sha256(content).digest())
        for output, values in answer.items():
            place = output, row
            self.lowest[place] = np.minimum(self.lowest.get(place, values), values)
            self.highest[place] = np.maximum(self.highest.get(place, values), values)

    @property
    def answers(self) -> frozenset[tuple[int, bytes]]:
        """Every (row, hash of an answer): equal for two sizes that agree."""
        return frozenset((row, answer) for row, answers in self.hashes.items() for answer in answers)

    @property
    def is_steady(self) -> bool:
        """Whether each row had one answer only, whatever its slot and neighbours."""
        return all(len(answers) == 1 for answers in self.hashes.values())


@dataclass(frozen=True, slots=True)
class VerificationSpec:
    """What a graph is verified against.

    Attributes:
        spec: its stated tensors and golden vectors.
        tolerances: of the package.
        max_batch: the largest batch size to try.
        mode: `strict` keeps the most sizes that agree bit for bit; `fast` those within the tolerance.
    """

    spec: GraphSpec
    tolerances: Sequence[Tolerance]
    max_batch: int
    mode: Reproducibility

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes to try, ascending: 1, 2, 4, … and the largest itself; none of a batch-coupled graph."""
        if self.spec.batch_coupled:
            return ()
        integers_only = all(output.datatype in INTEGERS for output in self.spec.outputs)
        largest = 1 if self.mode == "strict" and integers_only else self.max_batch
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
            again = _try_size(runner, spec, first.size, RANDOM_RUNS_OF_A_REPETITION)
            if again.answers != first.answers:
                return {}
            seconds[again.size] = again.run_s
        return seconds


def verify(session: LoadedGraph, verification: VerificationSpec) -> VerificationResult:
    """Choose the batch sizes that serve, and replay the golden vectors in the largest of them.

    A batch-coupled graph has no sizes to choose: its golden rows are replayed together, as they were exported.

    Args:
        session: the graph, loaded for every size of the verification.
        verification: what it must show.

    Raises:
        GoldenMismatch: the outputs differ from the golden ones by more than the tolerance.
        GraphRefused: golden tensors are not the stated ones, logits depend on each other although the package does not
            say so, or no batch size can serve.
    """
    spec, mode = verification.spec, verification.mode
    count = golden_count(session.graph, spec)
    tolerance = tolerance_of(session, verification.tolerances)
    if spec.batch_coupled:
        return VerificationResult(_report(session, spec, [], [], replay(session, spec, tolerance, count)), ())
    trials = [_try_size(session, spec, size, max(RANDOM_RUNS, RANDOM_ROWS // size)) for size in verification.sizes]
    _refuse_coupled_logits(trials, spec, session, tolerance)
    serving = _agreeing(trials, session) if mode == "strict" else _within_tolerance(trials, spec, tolerance)
    replayed = replay(session, spec, tolerance, serving[-1].size)
    return VerificationResult(_report(session, spec, trials, serving, replayed), tuple(serving))


def _try_size(runner: Runner, spec: GraphSpec, size: int, random_runs: int) -> BatchSizeTrial:
    """Run the first golden rows in batches of one size: in order, in every slot, then beside random rows."""
    trial = BatchSizeTrial(size)
    outputs = [output.name for output in spec.outputs]
    # Behind the golden rows stands a row of zeros: it is what padding is, and a neighbour for a single golden row.
    pool = {
        tensor.name: np.concatenate((golden := spec.golden[tensor.name][:PROBE_ROWS], np.zeros_like(golden[:1])))
        for tensor in spec.inputs
    }
    probes = len(next(iter(pool.values()))) - 1
    for arrangement in _arrangements(size, probes, random_runs):
        feeds = {name: rows[arrangement] for name, rows in pool.items()}
        started, thread_started = time.perf_counter(), time.thread_time()
        results = runner.compute(feeds, outputs)
        trial.thread_s = min(trial.thread_s, time.thread_time() - thread_started)
        trial.run_s = min(trial.run_s, time.perf_counter() - started)
        for slot, row in enumerate(arrangement.tolist()):
            if row < probes:
                trial.record(row, {output: results[output][slot] for output in outputs})
    return trial


def _arrangements(size: int, probes: int, random_runs: int) -> Iterator[NDArray[np.int64]]:
    """Which row of the pool stands in which slot, [B]: every row and every slot in turn, then random rows."""
    for start in range(0, probes, size):
        yield np.arange(start, start + size) % probes
    rng = np.random.default_rng(size)
    for _ in range(random_runs):
        yield rng.integers(0, probes + 1, size)


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
    """The most sizes that give a row the same bytes; of equally many, those that suit the device.

    A CPU computes small batches about as cheaply as large ones, so the smaller sizes win and pad least; a GPU hardly
    notices the batch, so the larger ones win.
    """
    groups: dict[frozenset[tuple[int, bytes]], list[BatchSizeTrial]] = defaultdict(list)
    for trial in trials:
        if trial.is_steady:
            groups[trial.answers].append(trial)
    if not groups:
        raise GraphRefused(f"{session.graph}: no batch size gives the same sample twice; only `fast` could serve it")
    toward = 1 if session.provider == CUDA else -1
    return max(groups.values(), key=lambda group: (len(group), toward * group[-1].size))


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
