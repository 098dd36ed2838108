"""The sessions that keep a device busy with one graph, each of them verified.

    CPU, ONNX Runtime   one session of one thread, which every worker calls at once
    CPU, OpenVINO       a session per worker and batch size, each of one thread
    CUDA                a session per batch size, for one worker, in the form that is steady (`graph_forms.py`); all
                        are opened and run on the device's thread

On the CPU two runs of one thread give more samples a second than one run of two threads, which is done sooner. So there
is also a session of all cores, for a request that is alone, where there are several cores and a run is long enough to
be spread over them. Which of the two runs is decided by the batch; here both are verified to give the same bytes.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from service.engine.backends import cuda
from service.engine.backends.base import InstanceGroup, LoadedGraph, Runner, SessionPerBatchSize, SessionPool
from service.engine.backends.binding import BoundSession, open_capturing
from service.engine.backends.onnxruntime import Session
from service.engine.backends.pinned import cuda_runtime
from service.engine.batching.device_thread import DeviceThread, OnDevice
from service.engine.config import CUDA, OPENVINO, Precision, Runtime
from service.engine.loading.batch_invariance import VerificationResult, VerificationSpec, verify
from service.engine.loading.graph_forms import AS_STATED, GraphForm, load_reproducibly
from service.engine.model_spec import GraphReport, GraphSpec
from service.engine.scheduling.batch_size import BatchSizer
from service.errors import GraphRefused, PackageError, SessionFailed

_log = logging.getLogger(__name__)


def onnxruntime_instances(
    kind: str, runtime: Runtime, verification: VerificationSpec, device: DeviceThread | None = None
) -> tuple[InstanceGroup, GraphReport]:
    """Load a graph in ONNX Runtime and verify it; where any device may compute, one that CUDA fails at on the CPU.

    Args:
        kind: the graph's role in the package.
        runtime: which device may compute.
        verification: what the graph must show.
        device: opens and runs the sessions on CUDA; None makes one for this graph.

    Raises:
        GraphRefused: ONNX Runtime cannot load or run it, CUDA is asked for and cannot run all of it, or as `verify`.
        GoldenMismatch: as `verify`.
    """
    device = device or DeviceThread()
    uses_cuda = runtime.device != "cpu" and cuda.PROCESS.verdict.device is not None
    arguments = kind, verification.spec, runtime.device, 1
    first = device.call(Session, *arguments) if uses_cuda else Session(*arguments)
    if first.provider != CUDA:
        return _on_cpu(first, runtime, verification)
    try:
        return _on_cuda(first, runtime, verification, device)
    except SessionFailed as error:
        message = f"{kind}: it does not run on CUDA: {cuda.own_words(error.__cause__ or error)}"
        if runtime.device == "cuda":
            raise GraphRefused(message) from error
    except PackageError as error:
        if runtime.device == "cuda":
            raise
        message = f"refused on CUDA: {error}"
    _log.warning("%s; using the CPU", message)
    return _on_cpu(Session(kind, verification.spec, "cpu", threads=1), runtime, verification)


def _on_cpu(first: Session, runtime: Runtime, verification: VerificationSpec) -> tuple[InstanceGroup, GraphReport]:
    opened = [first]

    def session(threads: int) -> Session:
        opened.append(Session(first.graph, verification.spec, "cpu", threads))
        return opened[-1]

    instances, report = instances_per_core(first, session, runtime.cores, verification)
    if not report.buckets:
        return instances, report
    largest = BatchSizer(report.buckets, instances.single_thread_s, instances.all_cores_s).largest
    kept = [session for session in opened if session is instances.single_thread or session is instances.all_cores]
    release_memory = _memory_release(kept, largest, verification.spec)
    release_memory()  # the verification ran larger batches than are worth running
    return replace(instances, release_memory=release_memory), report


def _on_cuda(
    first: Session, runtime: Runtime, verification: VerificationSpec, device: DeviceThread
) -> tuple[InstanceGroup, GraphReport]:
    """Load and verify a graph on CUDA, all its sessions alike and on the device's thread.

    Raises:
        GraphRefused: some of it runs on the CPU and CUDA is asked for, a session is or ends on the CPU, or as `verify`.
        GoldenMismatch: as `verify`.
        SessionFailed: a run failed.
    """
    placed = _check_placement(first, runtime)
    binds = runtime.binding and bool(verification.sizes(CUDA))  # a batch-coupled graph takes batches of any size
    captures = binds and runtime.cuda_graph

    def on_device(session: Session, spec: GraphSpec) -> OnDevice:
        if not binds:
            return OnDevice(session, device)
        library = cuda_runtime() if runtime.pinned else None
        return OnDevice(BoundSession(session, spec, cuda_runtime=library), device)

    def load(form: GraphForm, verification: VerificationSpec) -> tuple[InstanceGroup, GraphReport]:
        spec, uses_first = verification.spec, form is AS_STATED and not captures
        opened = [first] if uses_first else []

        def session() -> OnDevice:
            if captures:
                opened.append(device.call(open_capturing, first.graph, spec, form.conv_search))
            else:
                opened.append(device.call(Session, first.graph, spec, "cuda", 1, form.conv_search))
            return on_device(opened[-1], spec)

        one = on_device(first, spec) if uses_first else session()
        cpu_operators = _check_placement(opened[0], runtime) if form.is_rewritten else placed
        instances, report = instances_per_batch_size(one, session, verification)
        for each in opened:
            each.check_provider()
        card = cuda.PROCESS.verdict.device
        return instances, replace(report, device=card and replace(card, cpu_operators=cpu_operators, form=form.name))

    return load_reproducibly(first.graph, load, verification)


def _check_placement(session: Session, runtime: Runtime) -> tuple[str, ...]:
    """The operators that run on the CPU, which are logged.

    Raises:
        GraphRefused: there are any, and CUDA is asked for.
    """
    if session.cpu_operators:
        operators = ", ".join(session.cpu_operators)
        message = f"{session.graph}: ONNX Runtime runs these operators of it on the CPU: {operators}"
        if runtime.device == "cuda":
            raise GraphRefused(message)
        _log.warning("%s", message)
    return session.cpu_operators


def instances_per_core(
    single_thread: LoadedGraph, open_session: Callable[[int], LoadedGraph], cores: int, verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """Verify one session for all workers, and a session of all cores where that pays.

    Args:
        single_thread: a session of one thread, which several threads may call at once.
        open_session: makes a session of so many threads of the same graph.
        cores: workers, and threads of the session of all cores.
        verification: what the graph must show.

    Raises:
        GraphRefused: as `verify`.
        GoldenMismatch: as `verify`.
    """
    result = verify(single_thread, verification)
    all_cores, all_cores_s = _verify_all_cores(result, verification, cores, lambda _: open_session(cores))
    return InstanceGroup(single_thread, all_cores, cores, result.thread_s, all_cores_s), result.report


def instances_per_batch_size(
    first: LoadedGraph,
    open_session: Callable[[], LoadedGraph],
    verification: VerificationSpec,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[InstanceGroup, GraphReport]:
    """Verify a session per batch size, for one worker; a batch-coupled graph, which has no sizes, keeps one session.

    Args:
        first: a session.
        open_session: makes another one of the same graph.
        verification: what the graph must show.
        clock: as in `verify`.

    Raises:
        GraphRefused: as `verify`.
        GoldenMismatch: as `verify`.
    """
    sizes = verification.sizes(first.provider)
    if not sizes:
        return InstanceGroup(first, None, 1, {}, {}), verify(first, verification).report
    smallest, *others = sizes
    sessions = SessionPerBatchSize({smallest: first, **{size: open_session() for size in others}})
    result = verify(sessions, verification, clock)
    return InstanceGroup(sessions.only(result.report.buckets), None, 1, result.run_s, {}), result.report


def openvino_instances(
    kind: str, runtime: Runtime, verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """Compile a graph in OpenVINO and verify it.

    Raises:
        GraphRefused: OpenVINO is not installed or cannot compile the graph, CUDA is asked for, or as `verify`.
        GoldenMismatch: as `verify`.
    """
    if runtime.device == "cuda":
        raise GraphRefused(f"{kind}: CUDA is asked for, but OpenVINO computes on the CPU")
    try:
        from service.engine.backends.openvino import OpenVINOGraph  # noqa: PLC0415  (an optional extra)
    except ModuleNotFoundError as error:
        raise GraphRefused("OpenVINO is asked for and not installed: pip install 'ganymede-gan[openvino]'") from error
    spec, cores = verification.spec, runtime.cores
    graph = OpenVINOGraph(kind, spec, _precision(runtime, spec))
    tried = verification.sizes(OPENVINO)
    if not tried:
        coupled = [graph.compile(batch=None, threads=1) for _ in range(cores)]
        return InstanceGroup(SessionPool(coupled), None, cores, {}, {}), verify(coupled[0], verification).report

    def compile_sizes(sizes: Sequence[int], threads: int = 1) -> SessionPerBatchSize:
        return SessionPerBatchSize({size: graph.compile(size, threads) for size in sizes})

    first = compile_sizes(tried)
    result = verify(first, verification)
    sizes = result.report.buckets
    others = [compile_sizes(sizes) for _ in range(cores - 1)]
    instances = [first.only(sizes), *(other for other in others if result.repeat(other, spec, sizes))]
    all_cores, all_cores_s = _verify_all_cores(
        result, verification, cores, lambda spread: compile_sizes(spread, threads=cores)
    )
    group = InstanceGroup(SessionPool(instances), all_cores, len(instances), result.thread_s, all_cores_s)
    return group, result.report


def _verify_all_cores(
    result: VerificationResult,
    verification: VerificationSpec,
    cores: int,
    open_runner: Callable[[Sequence[int]], Runner],
) -> tuple[Runner | None, Mapping[int, float]]:
    """A runner of all cores and its seconds by batch size; None where it does not pay or gives other bytes."""
    sizes = result.sizes_to_spread(cores)
    if not sizes:
        return None, {}
    runner = open_runner(sizes)
    seconds = result.repeat(runner, verification.spec, sizes)
    return (runner, seconds) if seconds else (None, {})


def _memory_release(sessions: Sequence[Session], largest: int, spec: GraphSpec) -> Callable[[], None]:
    """`InstanceGroup.release_memory`: keeps the memory of one run of the largest batch, which serving needs.

    Args:
        sessions: the single-thread one first.
        largest: batch that is run.
        spec: of the graph; of it only single golden rows are kept.
    """
    one = {tensor.name: spec.golden[tensor.name][:1].copy() for tensor in spec.inputs}
    outputs = [output.name for output in spec.outputs]

    def release_memory() -> None:
        for session in sessions:
            session.shrink(one)
        sessions[0].compute({name: np.repeat(row, largest, axis=0) for name, row in one.items()}, outputs)

    return release_memory


def _precision(runtime: Runtime, spec: GraphSpec) -> Precision:
    makes_pixels = any(output.role == "pixels" for output in spec.outputs)
    return runtime.precision if makes_pixels else "fp32"
