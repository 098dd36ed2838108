"""What a graph must show on this machine before it serves: its golden outputs, and which batch sizes agree.

    golden rows ─┬─ every candidate batch size, every slot, other batch-mates ─▶ which sizes agree bit for bit
                 └─ replay in a size that serves ──────────────────────────────▶ within the tolerance, or refused

Kernels may compute a row differently in another batch size, and the promise of the same bytes for the same seed would
break with the load. So the sizes that serve are chosen by trial, here and once. The choice depends on nothing but the
graph, what runs it and this module, so that replicas of one stack choose alike. Every further runner of the graph, be
it on other threads or on more of them, has to repeat the bytes of the first.

A graph that answers integers alone (an item, the argmax of scores that nobody sees) can hide from the trial: two batch
sizes whose scores differ in the last bit agree on every probe, and part at a seed whose two best items are nearly tied.
So strict serves it one sample at a time, where there is nothing to differ from.

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
    distance,
    golden_count,
    limit_of,
    measured,
    replay,
    tolerance_of,
)
from service.engine.model_spec import Array, GraphReport, GraphSpec, Outputs, Tolerance
from service.errors import GraphRefused

# Golden rows tried in every batch size.
PROBE_ROWS = 7


@dataclass(slots=True)
class BatchSizeTrial:
    """What one batch size did with the probe rows, over all slots and companies.

    Attributes:
        size: the batch size.
        run_s: fewest seconds that a run took.
        thread_s: fewest seconds of the processor that a run took on the calling thread: for a runner that computes on
            that alone, what a run costs, whatever else the machine does meanwhile.
        hashes: per probe row, one hash for each different answer.
        lowest: by (output, probe row), elementwise over all answers.
        highest: likewise.
    """

    size: int
    run_s: float = math.inf
    thread_s: float = math.inf
    hashes: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    lowest: dict[tuple[str, int], Array] = field(default_factory=dict)
    highest: dict[tuple[str, int], Array] = field(default_factory=dict)

    def see(self, row: int, answer: Outputs) -> None:
        """Note what the size answered for a probe row."""
        content = b"".join(values.tobytes() for values in answer.values())
        self.hashes[row].add(hashlib.sha256(content).digest())
        for output, values in answer.items():
            place = output, row
            self.lowest[place] = np.minimum(self.lowest.get(place, values), values)
            self.highest[place] = np.maximum(self.highest.get(place, values), values)

    @property
    def bytes_seen(self) -> frozenset[tuple[int, bytes]]:
        """Every answer, by row: equal for two sizes that agree."""
        return frozenset((row, answer) for row, answers in self.hashes.items() for answer in answers)

    @property
    def steady(self) -> bool:
        """Whether each row had one answer only, whatever its slot and company."""
        return all(len(answers) == 1 for answers in self.hashes.values())


def try_size(runner: Runner, spec: GraphSpec, size: int, random_runs: int) -> BatchSizeTrial:
    """Run the first golden rows in batches of one size: in order, in every slot, then in random company.

    Args:
        runner: the graph.
        spec: its stated tensors, and golden vectors of the stated types and shapes.
        size: B.
        random_runs: in random company, each time another one.

    Raises:
        SessionFailed: as `Runner.compute`.
    """
    trial = BatchSizeTrial(size)
    outputs = [output.name for output in spec.outputs]
    # Behind the probe rows stands a row of zeros: it is what padding is, and company for a lone golden row.
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
                trial.see(row, {output: results[output][slot] for output in outputs})
    return trial


def _arrangements(size: int, probes: int, random_runs: int) -> Iterator[NDArray[np.int64]]:
    """Which row of the pool stands in which slot, [B]: every row and every slot in turn, then random companies."""
    for start in range(0, probes, size):
        yield np.arange(start, start + size) % probes
    rng = np.random.default_rng(size)
    for _ in range(random_runs):
        yield rng.integers(0, probes + 1, size)


# In every batch size golden rows are tried in random company for so many runs and so many rows at least; for 1, 2, … 64
# that is some 500 samples. A further runner of the same graph has its mates' independence from the first.
RANDOM_RUNS = 2
RANDOM_ROWS = 32
RANDOM_RUNS_OF_A_REPETITION = 1
# Threads that do not spin are woken for each operator of a run, some ten of them at some ten microseconds each.
WORTH_SPREADING_S = 200e-6
INTEGERS = frozenset({"UINT8", "INT64"})


@dataclass(frozen=True, slots=True)
class VerificationSpec:
    """What a graph is examined on.

    Attributes:
        spec: its stated tensors and golden vectors.
        tolerances: the package's.
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
        largest = 1 if self.mode == "strict" and _answers_integers(self.spec) else self.max_batch
        return tuple(sorted({min(2**power, largest) for power in range(largest.bit_length() + 1)}))


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """What a graph showed.

    Attributes:
        report: of the whole.
        trials: of the batch sizes that serve, ascending; none of a batch-coupled graph.
    """

    report: GraphReport
    trials: tuple[BatchSizeTrial, ...]

    @property
    def run_s(self) -> Mapping[int, float]:
        """Fewest seconds that a run took, by batch size."""
        return {trial.size: trial.run_s for trial in self.trials}

    @property
    def thread_s(self) -> Mapping[int, float]:
        """Fewest seconds of the processor that a run took on the calling thread, by batch size."""
        return {trial.size: trial.thread_s for trial in self.trials}

    def sizes_to_spread(self, cores: int) -> tuple[int, ...]:
        """Batch sizes, ascending, that could be done sooner on all cores together than shared out between them.

        With as many samples as cores each core has one of its own; up to twice as many, some would have two and some
        one. A run that is over before other cores are awake is spread in no size.

        Args:
            cores: that there are.
        """
        if cores == 1 or not self.trials or self.trials[0].thread_s < WORTH_SPREADING_S:
            return ()
        return tuple(trial.size for trial in self.trials if trial.size < 2 * cores)

    def repeat(self, runner: Runner, spec: GraphSpec, sizes: Collection[int]) -> Mapping[int, float]:
        """Hold another runner of the same graph to the bytes that were seen.

        Args:
            runner: takes batches of the sizes.
            spec: as in the examination.
            sizes: some of those that serve.

        Returns:
            Fewest seconds that its runs took, by batch size; nothing if it answered any other bytes.
        """
        seconds = {}
        for before in (trial for trial in self.trials if trial.size in sizes):
            again = try_size(runner, spec, before.size, RANDOM_RUNS_OF_A_REPETITION)
            if again.bytes_seen != before.bytes_seen:
                return {}
            seconds[again.size] = again.run_s
        return seconds


def verify(session: LoadedGraph, verification: VerificationSpec) -> VerificationResult:
    """Choose the batch sizes that serve, and replay the golden vectors in one of them.

    A batch-coupled graph has no sizes to choose: its golden rows are replayed together, as they were exported.

    Args:
        session: the graph, loaded for every size of the examination.
        verification: what it must show.

    Raises:
        GoldenMismatch: the outputs stray from the golden ones.
        GraphRefused: golden tensors are not the stated ones, logits depend on each other although nobody says so, or no
            batch size can serve.
    """
    spec, mode = verification.spec, verification.mode
    count = golden_count(session.graph, spec)
    tolerance = tolerance_of(session, verification.tolerances)
    if spec.batch_coupled:
        return VerificationResult(_report(session, spec, [], [], replay(session, spec, tolerance, count)), ())
    trials = [try_size(session, spec, size, max(RANDOM_RUNS, RANDOM_ROWS // size)) for size in verification.sizes]
    _hold_independent(trials, spec, session, tolerance)
    serving = _agreeing(trials, session) if mode == "strict" else _tolerable(trials, spec, tolerance)
    shown = replay(session, spec, tolerance, serving[-1].size)
    return VerificationResult(_report(session, spec, trials, serving, shown), tuple(serving))


def _report(
    session: LoadedGraph,
    spec: GraphSpec,
    trials: Sequence[BatchSizeTrial],
    serving: Sequence[BatchSizeTrial],
    shown: Replay,
) -> GraphReport:
    return GraphReport(
        provider=session.provider,
        buckets=tuple(trial.size for trial in serving),
        reproducible=len({trial.bytes_seen for trial in serving}) == 1 and serving[0].steady,
        largest_deviation=_largest_deviation(trials, spec),
        golden_deviation=shown.deviation,
        fingerprint=_fingerprint(session, serving),
        runtime=session.runtime,
        precision=session.precision,
        pixel_difference=shown.pixel_difference,
    )


def _answers_integers(spec: GraphSpec) -> bool:
    return all(output.datatype in INTEGERS for output in spec.outputs)


def _agreeing(trials: Sequence[BatchSizeTrial], session: LoadedGraph) -> list[BatchSizeTrial]:
    """The most sizes that give a row the same bytes; between equally many, those that suit the device.

    A CPU computes small batches about as cheaply as large ones, so the smaller sizes win and pad least; a GPU hardly
    notices the batch, so the larger ones win.
    """
    groups: dict[frozenset[tuple[int, bytes]], list[BatchSizeTrial]] = defaultdict(list)
    for trial in trials:
        if trial.steady:
            groups[trial.bytes_seen].append(trial)
    if not groups:
        raise GraphRefused(f"{session.graph}: no batch size gives the same sample twice; only `fast` could serve it")
    toward = 1 if session.provider == CUDA else -1
    return max(groups.values(), key=lambda group: (len(group), toward * group[-1].size))


def _tolerable(trials: Sequence[BatchSizeTrial], spec: GraphSpec, tolerance: Tolerance) -> list[BatchSizeTrial]:
    """The sizes whose answers stay within the golden tolerance, whatever the company."""

    def stays_close(trial: BatchSizeTrial) -> bool:
        return all(
            distance(bound, spec.golden[output][row]) <= limit_of(spec, output, tolerance)
            for bounds in (trial.lowest, trial.highest)
            for (output, row), bound in bounds.items()
        )

    return [trial for trial in trials if stays_close(trial)] or list(trials[:1])  # whose replay will say what strays


def _hold_independent(
    trials: Sequence[BatchSizeTrial], spec: GraphSpec, session: LoadedGraph, tolerance: Tolerance
) -> None:
    """Refuse logits that depend on what is judged beside a sample: the permutation test, which every trial is.

    Other graphs that do so are served one sample at a time; a discriminator was not trained to judge so.
    """
    for output in (output.name for output in spec.outputs if output.role == "logit"):
        change = max(
            distance(trial.highest[place], trial.lowest[place])
            for trial in trials
            for place in trial.lowest
            if place[0] == output
        )
        if change > limit_of(spec, output, tolerance):
            raise GraphRefused(
                f"{session.graph}: the {output} of a sample changes by {change:.3g} with what is judged beside it; a "
                "discriminator with batch statistics must state batch_coupled: true"
            )


def _largest_deviation(trials: Sequence[BatchSizeTrial], spec: GraphSpec) -> float:
    if not trials:
        return 0.0
    return max(
        distance(
            np.max([trial.highest[place] for trial in trials], axis=0),
            np.min([trial.lowest[place] for trial in trials], axis=0),
        )
        for place in trials[0].lowest
        if place[0] in measured(spec)
    )


def _fingerprint(session: LoadedGraph, serving: Sequence[BatchSizeTrial]) -> str:
    """Identify what computes a graph by its names and, since they leave the processor open, by its very answers."""
    seen = hashlib.sha256(f"{session.runtime}\n{session.provider}\n{session.precision}\n".encode())
    for row, answer in sorted(frozenset().union(*(trial.bytes_seen for trial in serving))):
        seen.update(row.to_bytes(2, "big") + answer)
    return seen.hexdigest()
