"""What a graph must show on this machine before it serves: its golden outputs, and which batch sizes agree.

    golden rows ─┬─ every candidate batch size, every slot, other batch-mates ─▶ which sizes agree bit for bit
                 └─ replay in a size that serves ──────────────────────────────▶ within the tolerance, or refused

Kernels may compute a row differently in another batch size, and the promise of the same bytes for the same seed would
break with the load. So the sizes that serve are chosen by trial, here and once. The runs are the warm-up as well: no
size serves its first request cold. The choice depends on nothing but the graph, the provider and this module, so that
replicas of one stack choose alike.

A graph that answers integers alone (an item, the argmax of scores that nobody sees) can hide from the trial: two batch
sizes whose scores differ in the last bit agree on every probe, and part at a seed whose two best items are nearly tied.
So strict serves it one sample at a time, where there is nothing to differ from.

Shapes: B batch, G golden rows, P ≤ G probe rows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import GraphReport, GraphSpec, Role, TensorSpec, Tolerance
from service.engine.session import CPU, RUNTIME, Array, Reproducibility, Session, numpy_type
from service.errors import GoldenMismatch, GraphRefused

# Golden rows tried in every batch size: in order, then in random company for so many runs and so many rows at least.
# For 1, 2, … 64 that is some 500 samples.
PROBE_ROWS = 7
RANDOM_RUNS = 2
RANDOM_ROWS = 32
# TF32 is off and no graph is converted, so that each runs as it was exported.
PRECISION = "fp32"
INTEGERS = frozenset({"UINT8", "INT64"})


def prove(
    session: Session, spec: GraphSpec, tolerances: Sequence[Tolerance], max_batch: int, mode: Reproducibility
) -> GraphReport:
    """Choose the batch sizes that serve, and replay the golden vectors in one of them.

    A batch-coupled graph has no sizes to choose: its golden rows are replayed together, as they were exported.

    Args:
        session: the graph, loaded.
        spec: its stated tensors and golden vectors.
        tolerances: the package's.
        max_batch: the largest batch size to try.
        mode: `strict` keeps the most sizes that agree bit for bit; `fast` those within the tolerance.

    Returns:
        The report; its buckets are empty for a batch-coupled graph.

    Raises:
        GoldenMismatch: the outputs stray from the golden ones.
        GraphRefused: golden tensors are not the stated ones, logits depend on each other although nobody says so, or no
            batch size can serve.
    """
    count = _golden_count(session.graph, spec)
    tolerance = _stated_tolerance(session, tolerances)
    if spec.batch_coupled:
        deviation = _replay(session, spec, tolerance, count)
        return GraphReport(session.provider, (), False, 0.0, deviation, _fingerprint(session, frozenset()))
    largest = 1 if mode == "strict" and _answers_integers(spec) else max_batch
    trials = [_try_size(session, spec, size, min(count, PROBE_ROWS)) for size in _candidates(largest)]
    _hold_independent(trials, spec, session, tolerance)
    serving = _agreeing(trials, session) if mode == "strict" else _tolerable(trials, spec, tolerance)
    return GraphReport(
        provider=session.provider,
        buckets=tuple(trial.size for trial in serving),
        reproducible=len({trial.bytes_seen for trial in serving}) == 1 and serving[0].steady,
        largest_deviation=_largest_deviation(trials, spec),
        golden_deviation=_replay(session, spec, tolerance, serving[-1].size),
        fingerprint=_fingerprint(session, frozenset().union(*(trial.bytes_seen for trial in serving))),
    )


@dataclass(slots=True)
class _Trial:
    """What one batch size did with the probe rows, over all slots and companies.

    Attributes:
        size: the batch size.
        hashes: per probe row, one hash for each different answer.
        lowest: by (output, probe row), elementwise over all answers.
        highest: likewise.
    """

    size: int
    hashes: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    lowest: dict[tuple[str, int], Array] = field(default_factory=dict)
    highest: dict[tuple[str, int], Array] = field(default_factory=dict)

    def see(self, row: int, answer: dict[str, Array]) -> None:
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


def _answers_integers(spec: GraphSpec) -> bool:
    return all(output.datatype in INTEGERS for output in spec.outputs)


def _candidates(max_batch: int) -> list[int]:
    """1, 2, 4, … and the largest itself."""
    return sorted({min(2**power, max_batch) for power in range(max_batch.bit_length() + 1)})


def _try_size(session: Session, spec: GraphSpec, size: int, probes: int) -> _Trial:
    trial = _Trial(size)
    outputs = [output.name for output in spec.outputs]
    # Behind the probe rows stands a row of zeros: it is what padding is, and company for a lone golden row.
    pool = {
        tensor.name: np.concatenate((golden := spec.golden[tensor.name][:probes], np.zeros_like(golden[:1])))
        for tensor in spec.inputs
    }
    for arrangement in _arrangements(size, probes):
        results = session.run([{name: rows[arrangement] for name, rows in pool.items()}], size, outputs)
        for slot, row in enumerate(arrangement.tolist()):
            if row < probes:
                trial.see(row, {output: results[output][slot] for output in outputs})
    return trial


def _arrangements(size: int, probes: int) -> Iterator[NDArray[np.int64]]:
    """Which row of the pool stands in which slot, [B]: every row and every slot in turn, then random companies."""
    for start in range(0, probes, size):
        yield np.arange(start, start + size) % probes
    rng = np.random.default_rng(size)
    for _ in range(max(RANDOM_RUNS, RANDOM_ROWS // size)):
        yield rng.integers(0, probes + 1, size)


def _agreeing(trials: Sequence[_Trial], session: Session) -> list[_Trial]:
    """The most sizes that give a row the same bytes; between equally many, those that suit the provider.

    A CPU computes small batches about as cheaply as large ones, so the smaller sizes win and pad least; a GPU hardly
    notices the batch, so the larger ones win.
    """
    groups: dict[frozenset[tuple[int, bytes]], list[_Trial]] = defaultdict(list)
    for trial in trials:
        if trial.steady:
            groups[trial.bytes_seen].append(trial)
    if not groups:
        raise GraphRefused(f"{session.graph}: no batch size gives the same sample twice; only `fast` could serve it")
    toward = -1 if session.provider == CPU else 1
    return max(groups.values(), key=lambda group: (len(group), toward * group[-1].size))


def _tolerable(trials: Sequence[_Trial], spec: GraphSpec, tolerance: Tolerance) -> list[_Trial]:
    """The sizes whose answers stay within the golden tolerance, whatever the company."""

    def stays_close(trial: _Trial) -> bool:
        return all(
            _distance(bound, spec.golden[output][row]) <= _limit(spec, output, tolerance)
            for bounds in (trial.lowest, trial.highest)
            for (output, row), bound in bounds.items()
        )

    return [trial for trial in trials if stays_close(trial)] or list(trials[:1])  # whose replay will say what strays


def _hold_independent(trials: Sequence[_Trial], spec: GraphSpec, session: Session, tolerance: Tolerance) -> None:
    """Refuse logits that depend on what is judged beside a sample: the permutation test, which every trial is.

    Other graphs that do so are served one sample at a time; a discriminator was not trained to judge so.
    """
    for output in (output.name for output in spec.outputs if output.role == "logit"):
        change = max(
            _distance(trial.highest[place], trial.lowest[place])
            for trial in trials
            for place in trial.lowest
            if place[0] == output
        )
        if change > _limit(spec, output, tolerance):
            raise GraphRefused(
                f"{session.graph}: the {output} of a sample changes by {change:.3g} with what is judged beside it; a "
                "discriminator with batch statistics must state batch_coupled: true"
            )


def _largest_deviation(trials: Sequence[_Trial], spec: GraphSpec) -> float:
    return max(
        _distance(
            np.max([trial.highest[place] for trial in trials], axis=0),
            np.min([trial.lowest[place] for trial in trials], axis=0),
        )
        for place in trials[0].lowest
        if place[0] in _measured(spec)
    )


def _replay(session: Session, spec: GraphSpec, tolerance: Tolerance, size: int) -> float:
    """Run all golden rows in batches of `size`; returns the largest deviation of the measured outputs.

    Raises:
        GoldenMismatch: an output strays.
    """
    outputs = [output.name for output in spec.outputs]
    deviations = dict.fromkeys(outputs, 0.0)
    for start in range(0, len(spec.golden[outputs[0]]), size):
        part = slice(start, start + size)
        results = session.run([{tensor.name: spec.golden[tensor.name][part] for tensor in spec.inputs}], size, outputs)
        for output in outputs:
            golden = spec.golden[output][part]
            deviation = _distance(results[output][: len(golden)], golden)
            deviations[output] = float(np.maximum(deviations[output], deviation))  # unlike max, it keeps a NaN
    for output, deviation in deviations.items():
        limit = _limit(spec, output, tolerance)
        if not deviation <= limit:
            raise GoldenMismatch(
                f"{session.graph}: {output} strays from the golden outputs by {deviation:.3g}; "
                f"the tolerance on {session.provider} at {PRECISION} is {limit:.3g}"
            )
    return max(deviations[output] for output in _measured(spec))


def _fingerprint(session: Session, bytes_seen: frozenset[tuple[int, bytes]]) -> str:
    """Identify what computes a graph by its names and, since they leave the processor open, by its very answers."""
    seen = hashlib.sha256(f"{RUNTIME}\n{session.provider}\n{PRECISION}\n".encode())
    for row, answer in sorted(bytes_seen):
        seen.update(row.to_bytes(2, "big") + answer)
    return seen.hexdigest()


def _distance(left: Array, right: Array) -> float:
    """Largest absolute difference; NaN where either has one."""
    return float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64))))


def _measured(spec: GraphSpec) -> list[str]:
    """Outputs that a report's deviations are about: not pixels, whose unit is another."""
    return [output.name for output in spec.outputs if output.role != "pixels"]


def _limit(spec: GraphSpec, output: str, tolerance: Tolerance) -> float:
    tensor = next(tensor for tensor in spec.outputs if tensor.name == output)
    if tensor.datatype == "INT64":
        return 0.0  # of two items, none is nearly the other
    limits: dict[Role, float | None] = {
        "sample": tolerance.sample,
        "pixels": tolerance.pixels,
        "logit": tolerance.logit,
        "latent": tolerance.latent,
        "code": tolerance.code,
    }
    limit = limits[tensor.role]
    return tolerance.sample if limit is None else limit


def _stated_tolerance(session: Session, tolerances: Sequence[Tolerance]) -> Tolerance:
    for tolerance in tolerances:
        if (tolerance.provider, tolerance.precision) == (session.provider, PRECISION):
            return tolerance
    raise GoldenMismatch(f"{session.graph}: the package states no tolerance for {session.provider} at {PRECISION}")


def _golden_count(graph: str, spec: GraphSpec) -> int:
    """G, after a check that golden tensors are the stated ones.

    Raises:
        GraphRefused: they are not.
    """
    tensors = (*spec.inputs, *spec.outputs)
    for tensor in tensors:
        if not _is_stated(spec.golden.get(tensor.name), tensor):
            raise GraphRefused(f"{graph}: golden {tensor.name} is missing, or has not the stated type and shape")
    counts = {len(spec.golden[tensor.name]) for tensor in tensors}
    if len(counts) != 1:
        raise GraphRefused(f"{graph}: golden tensors have different numbers of rows: {sorted(counts)}")
    return counts.pop()


def _is_stated(golden: Array | None, tensor: TensorSpec) -> bool:
    return (
        golden is not None
        and golden.dtype == numpy_type(tensor)
        and golden.ndim == len(tensor.shape)
        and golden.shape[1:] == tensor.shape[1:]
        and len(golden) > 0
    )
