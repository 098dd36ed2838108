"""How far a graph's outputs may stray from the golden ones: which of a package's tolerances holds, and for what.

A package states one tolerance for a provider and precision. OpenVINO in fp32 does the same arithmetic on the same
processor as ONNX Runtime's CPU provider, so what is stated for that holds for it too unless the package knows better.
Of arithmetic in fewer bits, which few exporters have tried, the pixels are bounded by `pixel_difference.py`.
"""

import math
from collections.abc import Sequence

import numpy as np

from service.engine.graphs import GraphSpec, Role, Tolerance
from service.engine.pixel_difference import LARGEST_STEPS
from service.engine.runners import Array, LoadedGraph
from service.engine.runtime import CPU, OPENVINO
from service.errors import GoldenMismatch

# Whose tolerance in fp32 holds where none is stated.
AKIN = {OPENVINO: CPU}


def tolerance_of(session: LoadedGraph, tolerances: Sequence[Tolerance]) -> Tolerance:
    """The tolerance that holds for a graph as it is run here.

    Args:
        session: the graph.
        tolerances: the package's.

    Raises:
        GoldenMismatch: there is none.
    """
    stated = {(tolerance.provider, tolerance.precision): tolerance for tolerance in tolerances}
    provider, precision = session.provider, session.precision
    if (provider, precision) in stated:
        return stated[provider, precision]
    if precision != "fp32":
        return Tolerance(provider, precision, sample=math.inf, pixels=LARGEST_STEPS, logit=0.0)
    if (AKIN.get(provider), precision) in stated:
        return stated[AKIN[provider], precision]
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


def distance(left: Array, right: Array) -> float:
    """Largest absolute difference; NaN where either has one."""
    return float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64))))


def measured(spec: GraphSpec) -> list[str]:
    """Outputs that a report's deviations are about: not pixels, whose unit is another."""
    return [output.name for output in spec.outputs if output.role != "pixels"]
