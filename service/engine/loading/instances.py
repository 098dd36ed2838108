"""A graph's runners in ONNX Runtime: which sessions it takes to keep a device busy, each of them proven.

    CPU     one session of one thread, which every lane may be in at once; and for the lone caller one of all cores,
            where there are several and a run is long enough to be spread over them
    CUDA    one session a batch size, for one lane: a session plans its convolutions for one size at a time

Two runs of one thread give more samples a second than one run of two, and one run of two is done sooner. Which of them
serves when is the lanes' choice; here it is only seen to that both give the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from service.engine.backends.base import LoadedGraph, PerSize, Pool, Runners
from service.engine.backends.onnxruntime import Session
from service.engine.batching.batch_size import RunSizes
from service.engine.config import CUDA, Precision, Runtime
from service.engine.loading.batch_invariance import Examination, prove
from service.engine.model_spec import GraphReport, GraphSpec
from service.errors import GraphRefused


def onnxruntime_runners(kind: str, runtime: Runtime, examination: Examination) -> tuple[Runners, GraphReport]:
    """Load a graph and prove it.

    Args:
        kind: what it is to the package, for messages.
        runtime: how it is to be run.
        examination: what it must show.

    Raises:
        GraphRefused: ONNX Runtime cannot load it, or as `prove` says.
        GoldenMismatch: as `prove` says.
    """
    opened: list[Session] = []

    def session(threads: int) -> Session:
        opened.append(Session(kind, examination.spec, runtime.device, threads))
        return opened[-1]

    narrow = session(threads=1)
    if narrow.provider == CUDA:
        return runners_per_size(narrow, lambda: session(threads=1), examination)
    runners, report = runners_per_core(narrow, session, runtime.cores, examination)
    if not report.buckets:
        return runners, report
    largest = RunSizes(report.buckets, runners.narrow_s, runners.wide_s).largest
    kept = [session for session in opened if session is runners.narrow or session is runners.wide]
    settle = _settling(kept, largest, examination.spec)
    settle()  # the proof tried larger batches than are worth running
    return replace(runners, settle=settle), report


def _settling(sessions: Sequence[Session], largest: int, spec: GraphSpec) -> Callable[[], None]:
    """Have sessions hold no more memory than serving needs: that of one run of the largest batch.

    Args:
        sessions: the narrow one first.
        largest: batch that is run.
        spec: of the graph; none of it but a few golden rows is kept.

    Returns:
        `Runners.settle`.
    """
    one = {tensor.name: spec.golden[tensor.name][:1].copy() for tensor in spec.inputs}
    outputs = [output.name for output in spec.outputs]

    def settle() -> None:
        for session in sessions:
            session.shrink(one)
        sessions[0].compute({name: np.repeat(row, largest, axis=0) for name, row in one.items()}, outputs)

    return settle


def runners_per_core(
    narrow: LoadedGraph, open_session: Callable[[int], LoadedGraph], cores: int, examination: Examination
) -> tuple[Runners, GraphReport]:
    """One session for all lanes, and a wide one where there is more than one core.

    Args:
        narrow: a session of one thread, which several threads may call at once.
        open_session: threads → a session of the same graph.
        cores: that there are.
        examination: what the graph must show.

    Raises:
        GraphRefused: as `prove` says.
        GoldenMismatch: likewise.
    """
    proof = prove(narrow, examination)
    spread = proof.sizes_to_spread(cores)
    wide = open_session(cores) if spread else None
    wide_s = proof.repeat(wide, examination.spec, spread) if wide else {}
    return Runners(narrow, wide if wide_s else None, cores, proof.thread_s, wide_s), proof.report


def runners_per_size(
    first: LoadedGraph, open_session: Callable[[], LoadedGraph], examination: Examination
) -> tuple[Runners, GraphReport]:
    """One session for each batch size, and one lane.

    Args:
        first: a session.
        open_session: makes another of the same graph.
        examination: what the graph must show; a batch-coupled one, which has no sizes, keeps its one session.

    Raises:
        GraphRefused: as `prove` says.
        GoldenMismatch: likewise.
    """
    if not examination.sizes:
        return Runners(first, None, 1, {}, {}), prove(first, examination).report
    smallest, *others = examination.sizes
    sessions = PerSize({smallest: first, **{size: open_session() for size in others}})
    proof = prove(sessions, examination)
    return Runners(sessions.only(proof.report.buckets), None, 1, proof.run_s, {}), proof.report


def openvino_runners(kind: str, runtime: Runtime, examination: Examination) -> tuple[Runners, GraphReport]:
    """Read a graph, compile it and prove it.

    Args:
        kind: what it is to the package, for messages.
        runtime: how it is to be run.
        examination: what it must show.

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
    spec, cores = examination.spec, runtime.cores
    graph = OpenVINOGraph(kind, spec, _precision(runtime, examination))
    if not examination.sizes:
        coupled = [graph.compile(batch=None, threads=1) for _ in range(cores)]
        return Runners(Pool(coupled), None, cores, {}, {}), prove(coupled[0], examination).report

    def per_size(sizes: tuple[int, ...], threads: int) -> PerSize:
        return PerSize({size: graph.compile(size, threads) for size in sizes})

    first = per_size(examination.sizes, threads=1)
    proof = prove(first, examination)
    sizes = proof.report.buckets
    others = [per_size(sizes, threads=1) for _ in range(cores - 1)]
    lanes = [first.only(sizes), *(lane for lane in others if proof.repeat(lane, spec, sizes))]
    spread = proof.sizes_to_spread(cores)
    wide = per_size(spread, threads=cores) if spread else None
    wide_s = proof.repeat(wide, spec, spread) if wide else {}
    return Runners(Pool(lanes), wide if wide_s else None, len(lanes), proof.thread_s, wide_s), proof.report


def _precision(runtime: Runtime, examination: Examination) -> Precision:
    makes_pixels = any(output.role == "pixels" for output in examination.spec.outputs)
    return runtime.precision if makes_pixels else "fp32"
