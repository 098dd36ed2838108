"""What every backend gives the engine: runners of one graph, the group of them that serves, checks of their tensors.

    InstanceGroup.single_thread, .all_cores
      ├─ a session                               that all callers share
      ├─ SessionPerBatchSize   B rows ──▶ the session of B
      └─ SessionPool           any batch ──▶ a session that is free

Shapes: B rows of a batch, padding included.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from service.engine.config import Precision
from service.engine.model_spec import Feeds, Outputs, TensorSpec
from service.errors import GraphRefused, SessionFailed


class Runner(Protocol):
    """Runs one graph on whole batches."""

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Run once.

        Args:
            feeds: input name → [B, …] for every input: contiguous and of the stated type. Not written to, and not kept
                beyond the call.
            outputs: names of the outputs to fetch; the others stay where they were computed.

        Returns:
            Output name → [B, …], in arrays that no later run writes to.

        Raises:
            SessionFailed: the backend raised, or answered a tensor of the wrong shape.
        """
        ...


class LoadedGraph(Runner, Protocol):
    """A runner that names what computes it, and can be verified."""

    @property
    def graph(self) -> str:
        """The graph's role in the package: `generator`, `discriminator` or `encoder`."""
        ...

    @property
    def runtime(self) -> str:
        """The library and its version, as in `onnxruntime 1.31.1`."""
        ...

    @property
    def provider(self) -> str:
        """The part of the library that really runs it, as in `CPUExecutionProvider`."""
        ...

    @property
    def precision(self) -> Precision:
        """Of its arithmetic."""
        ...


@dataclass(frozen=True, slots=True)
class InstanceGroup:
    """The sessions of one graph, ready to run in the batch sizes of its report.

    Attributes:
        single_thread: computes on its caller's thread; up to `concurrency` threads may call it at the same time.
        all_cores: computes on all cores; for one thread, while no other is in `single_thread`. None where there is one
            core, a device that is not the CPU, no batch size to verify (a batch-coupled graph), a run too short to be
            spread, or where its bytes differ from those of `single_thread`.
        concurrency: threads that keep the device busy: one per core on the CPU, one on CUDA.
        single_thread_s: batch size → seconds of a run of `single_thread` during verification: on the CPU, the fewest of
            its thread's processor time; on CUDA, the median while it is busy. For every size that serves; empty for a
            batch-coupled graph.
        all_cores_s: batch size → fewest seconds of a run of `all_cores`, of wall-clock time: a busy machine overstates
            them, so that the runner is chosen less often. For the sizes that it takes, which are the small ones: more
            samples are better shared out between threads. Empty where there is no such runner.
        release_memory: frees the memory that the sessions took since the graph was loaded; None where it does not grow
            or cannot be freed. Any thread may call it, also while others run the graph.
    """

    single_thread: Runner
    all_cores: Runner | None
    concurrency: int
    single_thread_s: Mapping[int, float]
    all_cores_s: Mapping[int, float]
    release_memory: Callable[[], None] | None = None


class SessionPerBatchSize:
    """One session per batch size, for backends that plan a session for one size.

    ONNX Runtime's CUDA provider keeps one cuDNN plan per convolution and builds it anew when the batch size changes,
    which takes longer than the run; OpenVINO plans kernels and memory best for fixed sizes.

    Args:
        sessions: batch size → session; at least one, all of one graph.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.

    Raises:
        SessionFailed: the sessions run on different providers, as where the device's memory was full for some of them.

    References:
        ONNX Runtime issue 23006: slow runs of changing shapes since 1.20.
    """

    def __init__(self, sessions: Mapping[int, LoadedGraph]) -> None:
        first = next(iter(sessions.values()))
        self.graph: str = first.graph
        self.runtime: str = first.runtime
        self.provider: str = first.provider
        self.precision: Precision = first.precision
        self._sessions = dict(sessions)
        providers = {session.provider for session in sessions.values()}
        if len(providers) > 1:
            raise SessionFailed(
                f"the {self.graph}'s sessions run on different providers: {', '.join(sorted(providers))}"
            )

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`, for batches of the sizes that have a session."""
        return self._sessions[batch_of(feeds)].compute(feeds, outputs)

    def only(self, sizes: Collection[int]) -> "SessionPerBatchSize":
        """The sessions of some of the sizes."""
        return SessionPerBatchSize({size: session for size, session in self._sessions.items() if size in sizes})


class SessionPool:
    """One session per caller, for backends whose sessions take one caller at a time.

    Args:
        sessions: all of one graph, and all giving the same bytes; more callers than sessions wait for each other.
    """

    def __init__(self, sessions: Sequence[LoadedGraph]) -> None:
        self._free: SimpleQueue[LoadedGraph] = SimpleQueue()
        for session in sessions:
            self._free.put(session)

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        session = self._free.get()
        try:
            return session.compute(feeds, outputs)
        finally:
            self._free.put(session)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output as a backend found it.

    Attributes:
        name: in the graph.
        datatype: a `Datatype`, or the backend's own name where it is none.
        shape: an integer for each size that the graph fixes, anything else for one that it leaves open.
    """

    name: str
    datatype: str
    shape: Sequence[object]


def batch_of(feeds: Feeds) -> int:
    """B."""
    return len(next(iter(feeds.values())))


def check_signature(stated: Sequence[TensorSpec], found: Sequence[TensorInfo], what: str) -> None:
    """Refuse a graph whose tensors are not the stated ones; sizes that it leaves open are checked on each run.

    Args:
        stated: by the package, in order.
        found: in the graph, in order.
        what: the tensors, for messages, as in `generator inputs`.

    Raises:
        GraphRefused: they differ in number, name, type or shape, or the graph fixes the batch.
    """
    names = [tensor.name for tensor in found]
    stated_names = [tensor.name for tensor in stated]
    if names != stated_names:
        raise GraphRefused(f"{what} are {names}; stated are {stated_names}")
    for tensor, there in zip(stated, found, strict=True):
        if there.datatype != tensor.datatype:
            raise GraphRefused(f"{what}: {tensor.name} is {there.datatype}; stated is {tensor.datatype}")
        if len(there.shape) != len(tensor.shape):
            raise GraphRefused(f"{what}: {tensor.name} has shape {there.shape}; stated is {list(tensor.shape)}")
        batch, *sizes = there.shape
        if isinstance(batch, int):
            raise GraphRefused(f"{what}: {tensor.name} has a fixed batch of {batch}")
        if any(size != fixed for size, fixed in zip(sizes, tensor.shape[1:], strict=True) if isinstance(size, int)):
            raise GraphRefused(f"{what}: {tensor.name} has shape {there.shape}; stated is {list(tensor.shape)}")


def check_output_shapes(graph: str, stated: Sequence[TensorSpec], batch: int, results: Outputs) -> None:
    """Refuse the outputs of a run that have another shape than the stated one.

    Args:
        graph: for messages.
        stated: all outputs of the graph.
        batch: B.
        results: output name → array, for some of the outputs.

    Raises:
        SessionFailed: a shape is not [B, …] as stated.
    """
    for tensor in stated:
        array = results.get(tensor.name)
        if array is not None and array.shape != (batch, *tensor.shape[1:]):
            raise SessionFailed(f"the {graph}'s output {tensor.name} has shape {array.shape} for a batch of {batch}")
