"""A fake device: sessions with configurable run times, differences between batch sizes and failures.

    FakeDevice.session(spec) ─▶ FakeSession, a `LoadedGraph`
      outputs     of a real CPU session of `spec`, or of a function
      agreeing    groups of batch sizes; outputs of different groups differ in the last bits
      unsteady    size → k: outputs of every k-th run of that size differ in the last bits
      run_s       size → seconds: an injected `FakeClock` advances, else the run sleeps
      fails_after runs of all sessions together; then a `SessionFailed` whose cause is the CUDA error

Shapes: B rows of a batch, padding included.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail, Fail, NotImplemented, RuntimeException

from service.engine.backends.base import InstanceGroup, Runner, batch_of
from service.engine.backends.onnxruntime import Session
from service.engine.config import CUDA, Precision
from service.engine.model_spec import Array, Feeds, GraphSpec, Outputs, Tolerance
from service.errors import SessionFailed
from tests.support.graph_makers import TOLERANCE

Failure = Literal["sticky", "out_of_memory", "no_plan", "no_cudnn"]

RUNTIME = "onnxruntime on a fake device"
CUDA_TOLERANCE: Tolerance = replace(TOLERANCE, provider=CUDA)
# Larger than the differences between groups.
UNSTEADY_STEPS = 50
# Timeout of events that must happen.
PATIENCE_S = 20.0
# A thread that has spent no time for so long is taken to wait for another; scheduling delays are shorter.
WAITING_S = 0.05

# Errors of ONNX Runtime 1.31, shortened.
_FAILURES: Mapping[Failure, Callable[[], Exception]] = {
    "sticky": lambda: Fail(
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; "
        "expr=cudaStreamSynchronize(static_cast<cudaStream_t>(stream_))"
    ),
    "out_of_memory": lambda: RuntimeException(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running ConvTranspose node. "
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 268435456"
    ),
    "no_plan": lambda: EPFail(
        "[ONNXRuntimeError] : 11 : EP_FAIL : Non-zero status code returned while running Conv node. "
        "CUDNN_FE failure 8: GRAPH_NOT_SUPPORTED ; GPU=0"
    ),
    "no_cudnn": lambda: NotImplemented(
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Non-zero status code returned while running Conv node. "
        "cuDNN is unavailable or disabled for CUDA Execution Provider"
    ),
}


def cuda_error(failure: Failure) -> Exception:
    """The exception that ONNX Runtime raises."""
    return _FAILURES[failure]()


class FakeClock:
    """A clock that advances only while a fake device runs; calling it returns the seconds."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Seconds since it was made."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now_s += seconds


class HeldClock(FakeClock):
    """A clock whose runs last until the test ends them."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = threading.Semaphore(0)
        self._ends = threading.Semaphore(0)

    def advance(self, seconds: float) -> None:
        """Block the run until `let_pass` ends it."""
        self._begun.release()
        assert self._ends.acquire(timeout=PATIENCE_S)
        super().advance(seconds)

    def wait_for_a_run(self) -> None:
        """Wait until a run has begun, one more with each call."""
        assert self._begun.acquire(timeout=PATIENCE_S)

    def let_pass(self, runs: int = 1) -> None:
        """End so many runs: blocked ones, then the next ones."""
        self._ends.release(runs)


class SharedClock(FakeClock):
    """A clock that advances only while all threads spend time, so that threads overlap as in real time.

    Args:
        threads: number of threads that spend time together; a thread that waits for another is not waited for.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self._changed = threading.Condition()
        self._ends: list[float] = []

    def advance(self, seconds: float) -> None:
        """Spend time."""
        with self._changed:
            end = self._now_s + seconds
            self._ends.append(end)
            self._changed.notify_all()
            others_wait = False
            while self._now_s < end:
                first = min(self._ends)
                if first > self._now_s and (others_wait or len(self._ends) == self._threads):
                    self._now_s = first
                    self._changed.notify_all()
                else:
                    others_wait = not self._changed.wait(WAITING_S)
            self._ends.remove(end)


@dataclass
class FakeDevice:
    """State shared by all sessions of a device; fields may be changed between runs.

    Attributes:
        agreeing: groups of batch sizes with equal bytes; a size in none of them equals no other. Empty: all are equal.
            Integer outputs are equal in all groups, as the argmax of scores mostly is.
        unsteady: batch size → k of its k-th run, counted over all sessions.
        run_s: batch size → seconds; other sizes take no time.
        clock: advanced by runs; None makes them sleep.
        fails_after: successful runs before a failure; None never fails.
        failure: `sticky` and `no_cudnn` fail all further runs; the others fail one run after each `fails_after`.
        provider: of its sessions.
        opened: sessions, in the order of their creation.
        runs: batch size → runs of all sessions, including failed ones.
        threads: ids of threads that ran a session.
        running: runs in progress.
        most_running: maximum of concurrent runs.
        times: (begin, end) of each run, on the clock.
    """

    agreeing: Sequence[Collection[int]] = ()
    unsteady: Mapping[int, int] = field(default_factory=dict)
    run_s: Mapping[int, float] = field(default_factory=dict)
    clock: FakeClock | None = None
    fails_after: int | None = None
    failure: Failure = "sticky"
    provider: str = CUDA
    opened: list["FakeSession"] = field(default_factory=list)
    runs: Counter[int] = field(default_factory=Counter)
    threads: set[int] = field(default_factory=set)
    running: int = 0
    most_running: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)
    _succeeded: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def session(
        self, spec: GraphSpec, graph: str = "generator", function: Callable[[Feeds], Outputs] | None = None
    ) -> "FakeSession":
        """Open a session.

        Args:
            spec: of the graph.
            graph: its role in the package.
            function: computes all outputs of a batch; None runs the graph on the CPU.
        """
        runner: Runner = Session(graph, spec, device="cpu", threads=1) if function is None else _Function(function)
        self.opened.append(FakeSession(self, runner, graph))
        return self.opened[-1]

    def instances(self, spec: GraphSpec, sizes: Sequence[int]) -> InstanceGroup:
        """One session for one worker, verified in these sizes with the costs of `run_s`."""
        return InstanceGroup(self.session(spec), None, 1, {size: self.run_s.get(size, 0.0) for size in sizes}, {})

    def run(self, runner: Runner, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Run a batch.

        Raises:
            SessionFailed: as the device is told to fail.
        """
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        began = self._now()
        try:
            return self._run(runner, feeds, outputs)
        finally:
            with self._lock:
                self.running -= 1
                self.times.append((began, self._now()))

    def _now(self) -> float:
        return time.monotonic() if self.clock is None else self.clock()

    def _run(self, runner: Runner, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        size = batch_of(feeds)
        with self._lock:
            self.threads.add(threading.get_ident())
            self.runs[size] += 1
            is_odd = size in self.unsteady and self.runs[size] % self.unsteady[size] == 0
            fails = self.fails_after is not None and self._succeeded >= self.fails_after
            if not fails:
                self._succeeded += 1
            elif self.failure in {"out_of_memory", "no_plan"}:
                self._succeeded = 0
        if fails:
            raise cuda_error(self.failure)
        results = runner.compute(feeds, outputs)
        if self.clock is not None:
            self.clock.advance(self.run_s.get(size, 0.0))
        elif size in self.run_s:
            time.sleep(self.run_s[size])
        steps = self._group(size) + UNSTEADY_STEPS * is_odd
        return {name: last_bits(values, steps) for name, values in results.items()}

    def _group(self, size: int) -> int:
        """Index of the group of a size; a distinct number where it is in none."""
        if not self.agreeing:
            return 0
        group = next((index for index, sizes in enumerate(self.agreeing) if size in sizes), None)
        return len(self.agreeing) + size.bit_length() if group is None else group


class FakeSession:
    """A session of a fake device: a `LoadedGraph`.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.
    """

    def __init__(self, device: FakeDevice, runner: Runner, graph: str) -> None:
        self.graph = graph
        self.runtime = RUNTIME
        self.provider = device.provider
        self.precision: Precision = "fp32"
        self._device = device
        self._runner = runner

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        try:
            return self._device.run(self._runner, feeds, outputs)
        except Exception as error:
            raise SessionFailed(f"the {self.graph}'s session failed") from error


def last_bits(values: Array, steps: int) -> Array:
    """Values shifted by so many representable numbers; integers unchanged."""
    if steps == 0 or values.dtype.kind != "f":
        return values
    shifted: Array = (values + steps * np.spacing(values)).astype(values.dtype)
    return shifted


@dataclass(frozen=True)
class _Function:
    function: Callable[[Feeds], Outputs]

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        results = self.function(feeds)
        return {name: results[name] for name in outputs}
