"""A fake device: sessions whose run times, disagreements and failures a test chooses.

    FakeDevice.session(spec) ─▶ FakeSession, a `LoadedGraph`
      answers     of a real CPU session of `spec`, or of a function
      agreeing    groups of batch sizes; each group answers with other last bits
      unsteady    size → k: every k-th run of that size answers with other last bits
      run_s       size → seconds: an injected `FakeClock` advances, else the run sleeps
      fails_after runs of all sessions together; then what CUDA raises, as `SessionFailed` has it for its cause

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
# Far from the bits by which groups differ, of which there are few.
UNSTEADY_STEPS = 50
# For what must happen.
PATIENCE_S = 20.0
# A thread that has spent no time for so long waits for another; a busy machine keeps a thread waiting for less.
WAITING_S = 0.05

# What ONNX Runtime 1.31 raises, shortened.
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
    """Seconds that pass only while a fake device runs; call it to read it."""

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
    """Each run lasts until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = threading.Semaphore(0)
        self._ends = threading.Semaphore(0)

    def advance(self, seconds: float) -> None:
        """Stand in a run until it may end."""
        self._begun.release()
        assert self._ends.acquire(timeout=PATIENCE_S)
        super().advance(seconds)

    def wait_for_a_run(self) -> None:
        """Wait until a run has begun, one more with each call."""
        assert self._begun.acquire(timeout=PATIENCE_S)

    def let_pass(self, runs: int = 1) -> None:
        """Let so many runs end, the next ones where none is held."""
        self._ends.release(runs)


class SharedClock(FakeClock):
    """Seconds that pass only while every thread that spends some is at it, so that threads overlap as they would.

    Args:
        threads: that spend time together. Where fewer do for a while, the others wait for them.
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
    """What all sessions of one device share; fields may be changed between runs.

    Attributes:
        agreeing: groups of batch sizes whose bytes agree; a size in none of them agrees with no other. Where it is
            empty, all agree. Outputs of integers are equal in all groups, as the argmax of scores mostly is.
        unsteady: batch size → k of its k-th run, counted over all sessions.
        run_s: batch size → seconds; a size that is not in it takes no time.
        clock: that runs advance; None makes them sleep.
        fails_after: runs that succeed; None never fails.
        failure: a sticky one and a missing library fail all further runs; others one run, after which as many succeed.
        provider: what its sessions call themselves.
        opened: sessions so far, in the order of their making.
        runs: batch size → runs of all sessions, failed ones included.
        threads: that ran a session.
        running: runs in progress.
        most_running: the most of them at a time.
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
            function: computes all outputs of a batch; without it the CPU runs the graph.
        """
        runner: Runner = Session(graph, spec, device="cpu", threads=1) if function is None else _Function(function)
        self.opened.append(FakeSession(self, runner, graph))
        return self.opened[-1]

    def instances(self, spec: GraphSpec, sizes: Sequence[int]) -> InstanceGroup:
        """One session for one worker, as verified in these sizes at the costs of `run_s`."""
        return InstanceGroup(self.session(spec), None, 1, {size: self.run_s.get(size, 0.0) for size in sizes}, {})

    def run(self, runner: Runner, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Run a batch as this device does.

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
        """Which of the groups a size is in; a number of its own where it is in none."""
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
    """Values so many representable numbers away; integers as they are."""
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
