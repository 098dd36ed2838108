"""A graph's runners in ONNX Runtime: which sessions it takes to keep a device busy, each of them proven.

    CPU     one session of one thread, which every worker may be in at once; and for the lone caller one of all cores,
            where there are several and a run is long enough to be spread over them
    CUDA    one session a batch size, for one worker: a session plans its convolutions for one size at a time

Two runs of one thread give more samples a second than one run of two, and one run of two is done sooner. Which of them
serves when is the workers' choice; here it is only seen to that both give the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from service.engine.backends.base import InstanceGroup, LoadedGraph, SessionPerBatchSize, SessionPool
from service.engine.backends.onnxruntime import Session
from service.engine.batching.batch_size import BatchSizer
from service.engine.config import CUDA, Precision, Runtime
from service.engine.loading.batch_invariance import VerificationSpec, verify
from service.engine.model_spec import GraphReport, GraphSpec
from service.errors import GraphRefused


def onnxruntime_instances(
    kind: str, runtime: Runtime, verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """Load a graph and prove it.

    Args:
        kind: what it is to the package, for messages.
        runtime: how it is to be run.
        verification: what it must show.

    Raises:
        GraphRefused: ONNX Runtime cannot load it, or as `prove` says.
        GoldenMismatch: as `prove` says.
    """
    opened: list[Session] = []

    def session(threads: int) -> Session:
        opened.append(Session(kind, verification.spec, runtime.device, threads))
        return opened[-1]

    single_thread = session(threads=1)
    if single_thread.provider == CUDA:
        return instances_per_batch_size(single_thread, lambda: session(threads=1), verification)
    instances, report = instances_per_core(single_thread, session, runtime.cores, verification)
    if not report.buckets:
        return instances, report
    largest = BatchSizer(report.buckets, instances.single_thread_s, instances.all_cores_s).largest
    kept = [session for session in opened if session is instances.single_thread or session is instances.all_cores]
    release_memory = _memory_release(kept, largest, verification.spec)
    release_memory()  # the proof tried larger batches than are worth running
    return replace(instances, release_memory=release_memory), report


def _memory_release(sessions: Sequence[Session], largest: int, spec: GraphSpec) -> Callable[[], None]:
    """Have sessions hold no more memory than serving needs: that of one run of the largest batch.

    Args:
        sessions: the single-thread one first.
        largest: batch that is run.
        spec: of the graph; none of it but a few golden rows is kept.

    Returns:
        `InstanceGroup.settle`.
    """
    one = {tensor.name: spec.golden[tensor.name][:1].copy() for tensor in spec.inputs}
    outputs = [output.name for output in spec.outputs]

    def release_memory() -> None:
        for session in sessions:
            session.shrink(one)
        sessions[0].compute({name: np.repeat(row, largest, axis=0) for name, row in one.items()}, outputs)

    return release_memory


def instances_per_core(
    single_thread: LoadedGraph, open_session: Callable[[int], LoadedGraph], cores: int, verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """One session for all workers, and a all-cores one where there is more than one core.

    Args:
        single_thread: a session of one thread, which several threads may call at once.
        open_session: threads → a session of the same graph.
        cores: that there are.
        verification: what the graph must show.

    Raises:
        GraphRefused: as `prove` says.
        GoldenMismatch: likewise.
    """
    result = verify(single_thread, verification)
    spread = result.sizes_to_spread(cores)
    all_cores = open_session(cores) if spread else None
    all_cores_s = result.repeat(all_cores, verification.spec, spread) if all_cores else {}
    return InstanceGroup(
        single_thread, all_cores if all_cores_s else None, cores, result.thread_s, all_cores_s
    ), result.report


def instances_per_batch_size(
    first: LoadedGraph, open_session: Callable[[], LoadedGraph], verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """One session for each batch size, and one worker.

    Args:
        first: a session.
        open_session: makes another of the same graph.
        verification: what the graph must show; a batch-coupled one, which has no sizes, keeps its one session.

    Raises:
        GraphRefused: as `prove` says.
        GoldenMismatch: likewise.
    """
    if not verification.sizes:
        return InstanceGroup(first, None, 1, {}, {}), verify(first, verification).report
    smallest, *others = verification.sizes
    sessions = SessionPerBatchSize({smallest: first, **{size: open_session() for size in others}})
    result = verify(sessions, verification)
    return InstanceGroup(sessions.only(result.report.buckets), None, 1, result.run_s, {}), result.report


def openvino_instances(
    kind: str, runtime: Runtime, verification: VerificationSpec
) -> tuple[InstanceGroup, GraphReport]:
    """Read a graph, compile it and prove it.

    Args:
        kind: what it is to the package, for messages.
        runtime: how it is to be run.
        verification: what it must show.

    Raises:
        GraphRefused: it cannot be read or compiled, CUDA is asked for, or as `prove` says.
        GoldenMismatch: as `prove` says.
    """
    if runtime.device == "cuda":
        raise GraphRefused(f"{kind}: CUDA is asked for, but OpenVINO computes on the CPU")
    try:
        from service.engine.backends.openvino import OpenVINOGraph  # noqa: PLC0415  (an optional extra)
    except ModuleNotFoundError as error:
        raise GraphRefused("OpenVINO is asked for and not installed: pip install 'ganymede-gan[openvino]'") from error
    spec, cores = verification.spec, runtime.cores
    graph = OpenVINOGraph(kind, spec, _precision(runtime, verification))
    if not verification.sizes:
        coupled = [graph.compile(batch=None, threads=1) for _ in range(cores)]
        return InstanceGroup(SessionPool(coupled), None, cores, {}, {}), verify(coupled[0], verification).report

    def per_size(sizes: tuple[int, ...], threads: int) -> SessionPerBatchSize:
        return SessionPerBatchSize({size: graph.compile(size, threads) for size in sizes})

    first = per_size(verification.sizes, threads=1)
    result = verify(first, verification)
    sizes = result.report.buckets
    others = [per_size(sizes, threads=1) for _ in range(cores - 1)]
    instances = [first.only(sizes), *(one for one in others if result.repeat(one, spec, sizes))]
    spread = result.sizes_to_spread(cores)
    all_cores = per_size(spread, threads=cores) if spread else None
    all_cores_s = result.repeat(all_cores, spec, spread) if all_cores else {}
    return InstanceGroup(
        SessionPool(instances), all_cores if all_cores_s else None, len(instances), result.thread_s, all_cores_s
    ), result.report


def _precision(runtime: Runtime, verification: VerificationSpec) -> Precision:
    makes_pixels = any(output.role == "pixels" for output in verification.spec.outputs)
    return runtime.precision if makes_pixels else "fp32"
