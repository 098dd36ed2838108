"""Trials of one batch size: what it answers to the golden rows in every slot and beside other rows, and what it costs.

Shapes: B batch.
"""

import hashlib
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.backends.base import Runner
from service.engine.model_spec import Array, Feeds, GraphSpec, Outputs

# Golden rows tried in every batch size.
PROBE_ROWS = 7
# At least so many runs and so many rows of each batch size stand beside random rows. A further session of the graph
# needs fewer: that rows are independent of each other is known from the first.
RANDOM_RUNS = 2
RANDOM_ROWS = 32
RANDOM_RUNS_OF_A_REPETITION = 1
# A device that is idle lowers its clock, and needs so long under load to raise it again.
SPIN_S = 0.1
# Ends the spinning where a run takes no measurable time.
SPIN_RUNS = 2000
# The median of so many runs ignores the few that an interrupt or another process delays.
TIMED_RUNS = 20


@dataclass(slots=True)
class BatchSizeTrial:
    """What one batch size answered for the golden rows, over all slots and neighbours.

    Attributes:
        run_s: fewest seconds of a run; the median where it was measured on a device.
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


def try_size(runner: Runner, spec: GraphSpec, size: int, random_runs: int, repeats: int = 1) -> BatchSizeTrial:
    """Run the first golden rows in batches of one size: in order, in every slot, then beside random rows.

    Args:
        runner: takes batches of the size.
        spec: of the graph.
        size: B.
        random_runs: arrangements of random rows.
        repeats: runs of each arrangement.
    """
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
        recorded: list[bytes] | None = None
        for _ in range(repeats):
            started, thread_started = time.perf_counter(), time.thread_time()
            results = runner.compute(feeds, outputs)
            trial.thread_s = min(trial.thread_s, time.thread_time() - thread_started)
            trial.run_s = min(trial.run_s, time.perf_counter() - started)
            if repeats > 1:
                content = [results[output].tobytes() for output in outputs]
                if content == recorded:
                    continue
                recorded = content
            for slot, row in enumerate(arrangement.tolist()):
                if row < probes:
                    trial.record(row, {output: results[output][slot] for output in outputs})
    return trial


def measure_run_s(
    runner: Runner, spec: GraphSpec, sizes: Collection[int], clock: Callable[[], float]
) -> Mapping[int, float]:
    """Batch size → median seconds of a run, on a device that is kept under load.

    Args:
        runner: takes batches of the sizes, and has run each of them before.
        spec: of the graph.
        sizes: at least one.
        clock: seconds.
    """
    outputs = [output.name for output in spec.outputs]

    def timed_s(feeds: Feeds) -> float:
        started = clock()
        runner.compute(feeds, outputs)
        return clock() - started

    batches: dict[int, Feeds] = {size: _golden_batch(spec, size) for size in sizes}
    spin_until = clock() + SPIN_S
    for _ in range(SPIN_RUNS):
        timed_s(batches[max(sizes)])
        if clock() >= spin_until:
            break
    return {size: statistics.median(timed_s(feeds) for _ in range(TIMED_RUNS)) for size, feeds in batches.items()}


def _golden_batch(spec: GraphSpec, size: int) -> Feeds:
    rows = np.arange(size) % len(spec.golden[spec.inputs[0].name])
    return {tensor.name: spec.golden[tensor.name][rows] for tensor in spec.inputs}


def _arrangements(size: int, probes: int, random_runs: int) -> Iterator[NDArray[np.int64]]:
    """Which row of the pool stands in which slot, [B]: every row and every slot in turn, then random rows."""
    for start in range(0, probes, size):
        yield np.arange(start, start + size) % probes
    rng = np.random.default_rng(size)
    for _ in range(random_runs):
        yield rng.integers(0, probes + 1, size)
