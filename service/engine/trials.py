"""What a batch size does with golden rows: run in every slot and in other company, and every answer noted.

It decides nothing: `proof.py` says from the notes which sizes agree, and whether another runner of the same graph gives
the same bytes. The runs are timed on the way, since they are the first and, until requests come, the only ones; and
they are the warm-up as well: no size serves its first request cold.

Shapes: B batch, P probe rows.
"""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import GraphSpec
from service.engine.runners import Array, Outputs, Runner

# Golden rows tried in every batch size.
PROBE_ROWS = 7


@dataclass(slots=True)
class Trial:
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


def try_size(runner: Runner, spec: GraphSpec, size: int, random_runs: int) -> Trial:
    """Run the first golden rows in batches of one size: in order, in every slot, then in random company.

    Args:
        runner: the graph.
        spec: its stated tensors, and golden vectors of the stated types and shapes.
        size: B.
        random_runs: in random company, each time another one.

    Raises:
        SessionFailed: as `Runner.compute`.
    """
    trial = Trial(size)
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
