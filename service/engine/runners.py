"""The ways to run one graph that all answer alike, and what each costs here: what `loading.py` gives to the lanes.

    narrow   one thread, the caller's; every lane may be in it at the same time     most samples a second
    wide     all the cores on one run; one caller at a time                         the shortest wait of a lone caller

Bytes do not depend on the choice: a wide runner is offered only where it gave the bytes of the narrow one in every
batch size that it takes. So lanes are free to choose by load, and the costs, which differ from day to day, decide
nothing that a caller could see.

It is the word between backends (ONNX Runtime, OpenVINO) and lanes, and knows neither of them.

Shapes: B batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.runtime import Precision

Array = NDArray[np.generic]
Feeds = dict[str, Array]
Outputs = dict[str, Array]


class Runner(Protocol):
    """Runs one graph on whole batches."""

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Run once.

        Args:
            feeds: input name → [B, …] for every input: contiguous, of the stated type, with the same B, padding
                included. They are not written to, and not kept beyond the call.
            outputs: names of the outputs to fetch; the others stay where they were computed.

        Returns:
            Output name → [B, …], padding included, in arrays that no later run writes to.

        Raises:
            SessionFailed: the backend raised, or answered a tensor of the wrong shape.
        """
        ...


class LoadedGraph(Runner, Protocol):
    """A runner that can say what it is, and may be proven."""

    @property
    def graph(self) -> str:
        """What it is to the package: `generator`, `discriminator` or `encoder`."""
        ...

    @property
    def runtime(self) -> str:
        """The library and its version, as in `onnxruntime 1.31.1`."""
        ...

    @property
    def provider(self) -> str:
        """What of the library really runs it, as in `CPUExecutionProvider`."""
        ...

    @property
    def precision(self) -> Precision:
        """Of its arithmetic."""
        ...


@dataclass(frozen=True, slots=True)
class Runners:
    """One graph, ready to run in the batch sizes of its report.

    Attributes:
        narrow: may be called by `lanes` threads at the same time.
        wide: by one thread while no other is in `narrow`; None where there is one core, a device that is not the CPU,
            no batch size to prove (a batch-coupled graph), a run too short to be spread, or where its bytes are not the
            narrow one's.
        lanes: how many threads keep the device busy: one a core on the CPU, one on CUDA.
        narrow_s: batch size → the fewest seconds that a narrow run took while the graph was proven, on the CPU those of
            its thread; for every size that serves, none for a batch-coupled graph.
        wide_s: likewise of wide runs, by the clock on the wall: on a busy machine they only seem slower than they are,
            and are chosen less. For the batch sizes that the wide runner takes, which are the small ones: more samples
            are better shared out between lanes. Empty where there is no wide runner.
        settle: brings the memory that the runners hold back to what it was when the graph was loaded; None where it
            does not grow, or cannot be taken back. Any thread may call it, also while others run the graph.
    """

    narrow: Runner
    wide: Runner | None
    lanes: int
    narrow_s: Mapping[int, float]
    wide_s: Mapping[int, float]
    settle: Callable[[], None] | None = None


def batch_of(feeds: Feeds) -> int:
    """B, how many rows there are in a batch."""
    return len(next(iter(feeds.values())))
