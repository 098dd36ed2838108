"""Replays a graph's golden vectors: the exporter's inputs and outputs, which the graph has to reproduce here.

Shapes: B batch, G golden rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.backends.base import LoadedGraph
from service.engine.config import CPU, OPENVINO
from service.engine.model_spec import Array, GraphSpec, Outputs, Role, TensorSpec, Tolerance
from service.engine.pixels import LARGEST_STEPS, PixelDifference
from service.errors import GoldenMismatch, GraphRefused

# Provider → the one whose fp32 tolerance holds where none is stated for it: the same arithmetic on the same processor.
SAME_ARITHMETIC = {OPENVINO: CPU}


def tolerance_of(session: LoadedGraph, tolerances: Sequence[Tolerance]) -> Tolerance:
    """Choose the tolerance that holds for a graph's provider and precision; reduced precision is bounded by pixels.

    Raises:
        GoldenMismatch: the package states none.
    """
    stated = {(tolerance.provider, tolerance.precision): tolerance for tolerance in tolerances}
    provider, precision = session.provider, session.precision
    if (provider, precision) in stated:
        return stated[provider, precision]
    if precision != "fp32":
        return Tolerance(provider, precision, sample=math.inf, pixels=LARGEST_STEPS, logit=0.0)
    if (SAME_ARITHMETIC.get(provider), precision) in stated:
        return stated[SAME_ARITHMETIC[provider], precision]
    raise GoldenMismatch(f"{session.graph}: the package states no tolerance for {provider} at {precision}")


def limit_of(spec: GraphSpec, output: str, tolerance: Tolerance) -> float:
    """Largest allowed absolute difference of one output, in its own units."""
    tensor = next(tensor for tensor in spec.outputs if tensor.name == output)
    if tensor.datatype == "INT64":
        return 0.0  # of two items, none is nearly the other
    limits: dict[Role, float | None] = {
        "sample": tolerance.sample,
        "pixels": tolerance.pixels,
        "logit": tolerance.logit,
        "latent": tolerance.latent,
        "code": tolerance.code,
    }
    limit = limits[tensor.role]
    return tolerance.sample if limit is None else limit


def largest_difference(left: Array, right: Array) -> float:
    """Largest absolute difference; NaN where either has one."""
    return float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64))))


def outputs_but_pixels(spec: GraphSpec) -> list[str]:
    """The outputs whose deviation is reported as one number; pixels have another unit."""
    return [output.name for output in spec.outputs if output.role != "pixels"]


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        deviation: largest absolute difference of outputs that are not pixels.
        pixel_difference: None where there are no pixels.
    """

    deviation: float
    pixel_difference: PixelDifference | None


def golden_count(graph: str, spec: GraphSpec) -> int:
    """G, after a check that the golden tensors are the stated ones.

    Raises:
        GraphRefused: they are not.
    """
    tensors = (*spec.inputs, *spec.outputs)
    for tensor in tensors:
        if not _is_stated(spec.golden.get(tensor.name), tensor):
            raise GraphRefused(f"{graph}: golden {tensor.name} is missing, or has not the stated type and shape")
    counts = {len(spec.golden[tensor.name]) for tensor in tensors}
    if len(counts) != 1:
        raise GraphRefused(f"{graph}: golden tensors have different numbers of rows: {sorted(counts)}")
    return counts.pop()


def replay(session: LoadedGraph, spec: GraphSpec, tolerance: Tolerance, size: int) -> Replay:
    """Run all golden rows in batches of `size`, the last one padded with zeros.

    Raises:
        GoldenMismatch: an output differs by more than the tolerance.
    """
    outputs = _run(session, spec, size)
    deviations = {name: largest_difference(values, spec.golden[name]) for name, values in outputs.items()}
    for name, deviation in deviations.items():
        limit = limit_of(spec, name, tolerance)
        if not deviation <= limit:  # true of NaN
            raise GoldenMismatch(
                f"{session.graph}: {name} strays from the golden outputs by {deviation:.3g}; "
                f"the tolerance on {session.provider} at {session.precision} is {limit:.3g}"
            )
    difference = _pixel_difference(spec, outputs)
    if difference is not None and session.precision != "fp32" and not difference.is_acceptable:
        raise GoldenMismatch(f"{session.graph}: its pixels at {session.precision} stray too far: {difference}")
    return Replay(max(deviations[name] for name in outputs_but_pixels(spec)), difference)


def _run(session: LoadedGraph, spec: GraphSpec, size: int) -> Outputs:
    """The outputs [G, …] for the golden inputs."""
    outputs = [output.name for output in spec.outputs]
    count = len(spec.golden[outputs[0]])
    runs = []
    for start in range(0, count, size):
        rows = min(size, count - start)
        feeds = {tensor.name: np.zeros((size, *tensor.shape[1:]), tensor.dtype) for tensor in spec.inputs}
        for name, feed in feeds.items():
            feed[:rows] = spec.golden[name][start : start + rows]
        results = session.compute(feeds, outputs)
        runs.append({name: results[name][:rows] for name in outputs})
    return {name: np.concatenate([run[name] for run in runs]) for name in outputs}


def _pixel_difference(spec: GraphSpec, outputs: Outputs) -> PixelDifference | None:
    for output in spec.outputs:
        if output.role == "pixels":
            pixels, golden = (rows[output.name].astype(np.uint8, copy=False) for rows in (outputs, spec.golden))
            return PixelDifference.between(pixels, golden)
    return None


def _is_stated(golden: Array | None, tensor: TensorSpec) -> bool:
    return (
        golden is not None
        and golden.dtype == tensor.dtype
        and golden.ndim == len(tensor.shape)
        and golden.shape[1:] == tensor.shape[1:]
        and len(golden) > 0
    )
