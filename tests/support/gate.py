"""A real session whose runs wait until the test lets them end or fail.

Shapes: B rows of a batch, n samples of a slice, Z latent coordinates.
"""

import math
import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.backends.base import InstanceGroup
from service.engine.backends.onnxruntime import Session
from service.engine.batching.input_buffers import Rows
from service.engine.batching.request import RowSource
from service.engine.model_spec import Feeds, Outputs
from service.engine.sampling.batched import PendingSample
from tests.support.toy import toy_graphs

Verdict = Literal["pass", "fail"]

PATIENCE_S = 20.0  # timeout of events that must happen, for a busy machine
LATENT_SIZE = 4
TOY = toy_graphs(latent_size=LATENT_SIZE, height=4, width=4)


def toy_session() -> Session:
    return Session("generator", TOY.generator, device="cpu", threads=1)


def toy_latents(first: int, count: int) -> NDArray[np.float32]:
    """Latents [n, Z], different for every sample number."""
    return np.random.default_rng(0).standard_normal((first + count, LATENT_SIZE))[first:].astype(np.float32)


@dataclass(frozen=True)
class Run:
    """One session run that has begun.

    Attributes:
        slices: (request, start, stop) of each, with the names passed to `Gate.rows`.
        size: rows of the run.
        outputs: fetched outputs.
        all_cores: whether it runs on all cores.
        verdict: how it ends, once the test has decided.
    """

    slices: tuple[tuple[str, int, int], ...]
    size: int
    outputs: tuple[str, ...]
    all_cores: bool = False
    verdict: queue.Queue[Verdict] = field(default_factory=queue.Queue, compare=False, repr=False)


class Gate:
    """Instances whose runs wait for the test's verdict."""

    def __init__(self) -> None:
        self._session = toy_session()
        self._written: list[tuple[object, tuple[str, int, int]]] = []
        self._begun: queue.Queue[Run] = queue.Queue()
        self._lock = threading.Lock()
        self._held: deque[Run] = deque()
        self._early: deque[Verdict] = deque()

    def runners(
        self,
        workers: int = 1,
        all_cores_s: Mapping[int, float] | None = None,
        single_thread_s: Mapping[int, float] | None = None,
    ) -> InstanceGroup:
        """Instances of this gate with unknown costs, or with these; on all cores larger batches pay."""
        if single_thread_s is not None:
            return InstanceGroup(_Gated(self, all_cores=False), None, workers, single_thread_s, {})
        if all_cores_s is None:
            return InstanceGroup(_Gated(self, all_cores=False), None, workers, {}, {})
        single_thread_s = {size: math.sqrt(size) for size in all_cores_s}
        return InstanceGroup(
            _Gated(self, all_cores=False), _Gated(self, all_cores=True), workers, single_thread_s, all_cores_s
        )

    def rows(self, request: str, latents: NDArray[np.float32]) -> RowSource:
        """A request's rows; records the buffer that a model thread writes them to."""

        def source(start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
            with self._lock:
                self._written.append((rows["latent"].base, (request, start, stop)))
            rows["latent"][:] = latents[start:stop]
            return ()

        return source

    def compute(self, feeds: Feeds, outputs: Sequence[str], *, all_cores: bool) -> Outputs:
        """Record a run, and wait for its verdict."""
        buffer = feeds["latent"].base
        with self._lock:
            slices = tuple(written for base, written in self._written if base is buffer)
            self._written = [(base, written) for base, written in self._written if base is not buffer]
        run = Run(slices, len(feeds["latent"]), tuple(outputs), all_cores)
        with self._lock:
            if self._early:
                run.verdict.put(self._early.popleft())
            else:
                self._held.append(run)
        self._begun.put(run)
        if run.verdict.get(timeout=PATIENCE_S) == "fail":
            raise RuntimeError("the device is gone")
        return self._session.compute(feeds, outputs)

    @property
    def prepared(self) -> tuple[tuple[str, int, int], ...]:
        """Slices that are written and whose run has not begun."""
        with self._lock:
            return tuple(written for _, written in self._written)

    def next_run(self) -> Run:
        """Wait for a run to begin."""
        return self._begun.get(timeout=PATIENCE_S)

    def let_pass(self, run: Run | None = None) -> None:
        """Let a run end: this one, else the oldest held one, else the next."""
        self._decide("pass", run)

    def let_fail(self, run: Run | None = None) -> None:
        """As `let_pass`, but it raises."""
        self._decide("fail", run)

    def let_all_pass(self) -> None:
        """Let all held runs end, where no further run begins."""
        while self._held:
            self.let_pass(self._held[0])

    def _decide(self, verdict: Verdict, run: Run | None) -> None:
        with self._lock:
            if run is None and not self._held:
                self._early.append(verdict)
                return
            decided = self._held[0] if run is None else run
            self._held.remove(decided)
        decided.verdict.put(verdict)


@dataclass(frozen=True)
class _Gated:
    gate: Gate
    all_cores: bool

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        return self.gate.compute(feeds, outputs, all_cores=self.all_cores)
