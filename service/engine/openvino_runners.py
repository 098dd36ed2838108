"""A graph's runners in OpenVINO: compiled graphs for each lane and batch size, and wide ones, each of them proven.

    lanes × sizes    compiled for one thread     each takes one caller, so a lane takes one that is free
      1   × few      compiled for all cores      for the lone caller, where a run is long enough to be spread

Each costs memory (its weights again, and the tensors between its layers) and a few hundredths of a second to compile,
which is why OpenVINO is asked for and not the default. Fewer bits are for pixels, which people look at and can be
compared by: whoever computes with an answer (a logit, a code, a vector, an item) gets fp32.
"""

from service.engine.graphs import GraphReport
from service.engine.many_sessions import PerSize, Pool
from service.engine.openvino_session import OpenVINOGraph
from service.engine.proof import Examination, prove
from service.engine.runners import Runners
from service.engine.runtime import Precision, Runtime
from service.errors import GraphRefused


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
