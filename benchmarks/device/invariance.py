"""The stage `invariance`: which batch sizes give a sample the same bytes, in any slot, beside anything, each time.

    golden rows ──every size, random slots and neighbours, many repeats──▶ bytes of each row ──▶ groups that agree

The service answers the same question when it loads a graph, with fewer repeats; here is the table behind its choice, in
a fresh process twice, from a second thread, and for each form in which a device may compute the graph.

Shapes: B batch.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.device import graphs
from benchmarks.device.graphs import Graph
from benchmarks.device.stage import Device, Notes, elsewhere
from service.engine.backends.base import Runner
from service.engine.config import Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.conv_transpose import as_convolutions
from service.engine.loading.graph_forms import AS_STATED, FORMS, GraphForm
from service.engine.loading.instances import onnxruntime_instances
from service.engine.model_spec import GraphReport

# Package → batch size → digest.
Digests = dict[str, dict[int, str]]

PROBE_ROWS: Final = 7
MOST_HASHED: Final = 28  # slots of a run, so that hashing does not take longer than running
# Both are forms on every device; how cuDNN searches is nothing to a CPU.
ON_A_CPU: Final = ("heuristic", "as_convolutions")
NAMES: Final = ("mnist", "g28", "g64", "planted-items")
# The largest size that the service is allowed to try: its own default, and four times that.
MAX_BATCHES: Final = (64, 256)


@dataclass(frozen=True)
class Trial:
    """What one batch size answered.

    Attributes:
        size: B.
        digest: of the bytes of all rows; where a row had several answers, of all of them.
        answers: the most that one row had; 1 of a steady size.
    """

    size: int
    digest: str
    answers: int


def measure_invariance(notes: Notes) -> None:
    """Try every graph in every size."""
    sizes = notes.terms.pick(tuple(2**power for power in range(11)), (1, 2, 4, 8))
    expected: Digests = {}
    not_steady: list[str] = []
    for name in NAMES:
        graph = graphs.generator(name)
        if graph is None:
            notes.skip(name, "no `onnx` to make it with")
            continue
        not_steady += _serve(notes, graph)
        if digests := _try_forms(notes, graph, sizes):
            expected[name] = digests
    notes.figure("unsteady_served", len(not_steady))
    if not_steady:
        notes.say(f"NOT STEADY: {', '.join(not_steady)}")
    notes.attempt("again", _again, notes, expected, sizes)


def _serve(notes: Notes, graph: Graph) -> list[str]:
    """What the service chooses; those choices that are none, or are not steady."""
    not_steady: list[str] = []
    for most in notes.terms.pick(MAX_BATCHES, (8,)):
        part = f"{graph.name}, at most {most}"
        report = notes.attempt(f"{part}: choice", served, graph, notes.terms.device, most)
        found = None if report is None else notes.attempt(part, _served_steadily, notes, graph, report, most)
        not_steady += [f"{part} is not served"] if found is None else found
    return not_steady


def _try_forms(notes: Notes, graph: Graph, sizes: Sequence[int]) -> dict[int, str]:
    """Try all forms in all sizes; the digests of the graph as stated."""
    device, repeats = notes.terms.device, notes.terms.pick(200, 2)
    as_stated: dict[int, str] = {}
    for form in FORMS:
        if form.is_rewritten and as_convolutions(graph.spec.model) is None:
            continue
        if device == "cpu" and form.name not in ON_A_CPU:
            notes.skip(form.name, "no CUDA device")
            continue
        trials = notes.attempt(f"{graph.name} {form.name}", tried, graph, device, sizes, repeats, form)
        if trials is not None:
            _note(notes, graph, form, trials)
            if form == AS_STATED:
                as_stated = {trial.size: trial.digest for trial in trials}
    return as_stated


def try_size(runner: Runner, graph: Graph, size: int, repeats: int, seed: int = 0) -> Trial:
    """Run golden rows in random slots beside random others, and zeros, which are what padding is.

    Args:
        runner: takes batches of the size.
        graph: of the runner.
        size: B.
        repeats: runs; of a small size enough are made to see each row.
        seed: of the arrangement.
    """
    probes = min(PROBE_ROWS, graph.golden_rows)
    pool = {
        tensor.name: np.concatenate((golden := graph.spec.golden[tensor.name][:probes], np.zeros_like(golden[:1])))
        for tensor in graph.spec.inputs
    }
    hashes: list[set[bytes]] = [set() for _ in range(probes)]
    rng = np.random.default_rng([seed, size])
    for turn in range(max(repeats, 2 * probes)):
        # Every second run has the rows in order, beginning with another one each time, so that all rows are seen.
        rows = (np.arange(size) + turn // 2) % probes if turn % 2 == 0 else rng.integers(0, probes + 1, size)
        answers = runner.compute({name: values[rows] for name, values in pool.items()}, graph.outputs)
        for slot in rng.permutation(size)[: size if turn == 0 else MOST_HASHED]:
            if (row := int(rows[slot])) < probes:
                content = b"".join(answers[output][slot].tobytes() for output in graph.outputs)
                hashes[row].add(hashlib.sha256(content).digest())
    whole = hashlib.sha256(b"".join(b"".join(sorted(found)) for found in hashes))
    return Trial(size, whole.hexdigest(), max(len(found) for found in hashes))


def tried(graph: Graph, device: Device, sizes: Sequence[int], repeats: int, form: GraphForm) -> list[Trial]:
    """Try a graph in some sizes, each in a session of its own, as the service has them on a device."""
    return [try_size(graphs.of_service(graph, device, form), graph, size, repeats) for size in sizes]


def groups(trials: Sequence[Trial]) -> list[list[int]]:
    """Steady sizes by the bytes that they give; the group of the largest size first."""
    found: dict[str, list[int]] = {}
    for trial in trials:
        if trial.answers == 1:
            found.setdefault(trial.digest, []).append(trial.size)
    return sorted(found.values(), key=max, reverse=True)


def _note(notes: Notes, graph: Graph, form: GraphForm, trials: Sequence[Trial]) -> None:
    for trial in trials:
        notes.row(
            "sizes", graph=graph.name, form=form.name, size=trial.size, digest=trial.digest, answers=trial.answers
        )
    agreeing = groups(trials)
    most = max(agreeing, key=lambda sizes: (len(sizes), max(sizes)), default=[])
    largest = max(agreeing, key=lambda sizes: (max(sizes), len(sizes)), default=[])
    notes.row("groups", graph=graph.name, form=form.name, groups=agreeing, most_sizes=most, largest_size=largest)
    shaky = [trial.size for trial in trials if trial.answers > 1]
    told = " ".join("{" + ",".join(map(str, sizes)) + "}" for sizes in agreeing)
    notes.say(f"{graph.name} {form.name}: {told}" + (f"; not steady: {shaky}" if shaky else ""))


def _again(notes: Notes, expected: Digests, sizes: Sequence[int]) -> None:
    """In fresh processes, and from a second thread."""
    device, repeats = notes.terms.device, notes.terms.pick(20, 2)
    there: Digests = {}
    thread = threading.Thread(target=lambda: there.update(tried_by_name(tuple(expected), device, sizes, repeats)))
    thread.start()
    thread.join()
    found = {"second thread": there}
    for turn in range(notes.terms.pick(2, 1)):
        found[f"fresh process {turn}"] = elsewhere(tried_by_name, {}, tuple(expected), device, sizes, repeats)
    for where, digests in found.items():
        for name, before in expected.items():
            differing = [size for size in before if digests.get(name, {}).get(size) != before[size]]
            notes.row("again", graph=name, where=where, differing=differing)
            if differing:
                notes.say(f"{name}: other bytes in a {where} in sizes {differing}")


def tried_by_name(names: Sequence[str], device: Device, sizes: Sequence[int], repeats: int) -> Digests:
    """As `tried`, of the generators of packages by their names."""
    return {
        name: {trial.size: trial.digest for trial in tried(graph, device, sizes, repeats, AS_STATED)}
        for name in names
        if (graph := graphs.generator(name)) is not None
    }


def served(graph: Graph, device: Device, max_batch: int) -> GraphReport:
    """What the service would serve: its own verification."""
    verification = VerificationSpec(graph.spec, graph.tolerances, max_batch, "strict")
    return onnxruntime_instances(graph.kind, Runtime(device=device), verification)[1]


def _served_steadily(notes: Notes, graph: Graph, report: GraphReport, most: int) -> list[str]:
    """The sizes that the service chose, held to many more repeats than it made; those that are not steady."""
    repeats = notes.terms.pick(200, 2)
    name = report.device.form if report.device is not None else AS_STATED.name
    form = next(form for form in FORMS if form.name == name)
    found = []
    for size in report.buckets:
        trial = try_size(graphs.of_service(graph, notes.terms.device, form), graph, size, repeats, seed=1)
        if trial.answers > 1:
            found.append(f"{graph.name} at {size}")
    notes.row(
        "served", graph=graph.name, max_batch=most, form=form.name, buckets=list(report.buckets),
        reproducible=report.reproducible, golden_deviation=report.golden_deviation, fingerprint=report.fingerprint,
        not_steady=found,
    )  # fmt: skip
    notes.say(f"{graph.name}, at most {most}: serves {list(report.buckets)} as {form.name}")
    return found
