"""The range of a graph's values by its last operators: an interval, carried from tanh or sigmoid to the output.

    Tanh [-1, 1] ─▶ Mul 0.5 [-0.5, 0.5] ─▶ Add 0.5 [0, 1] ─▶ Transpose [0, 1]

References:
    Moore, Interval Analysis (1966).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from training.adopt.batches import constants_of
from training.adopt.decisions import Decision, Interval, Options
from training.errors import ExportError

BOUNDED: Final[Mapping[str, Interval]] = {
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
    "Softmax": (0.0, 1.0),
}
SAME_VALUES: Final = frozenset(
    {
        "Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand",
        "DepthToSpace", "SpaceToDepth", "AveragePool", "MaxPool", "Round", "Floor", "Dropout",
    }
)  # fmt: skip
ARITHMETIC: Final = frozenset({"Add", "Sub", "Mul", "Div"})
WALKED: Final = SAME_VALUES | ARITHMETIC | {"Concat", "Clip"}
USUAL: Final[tuple[Interval, ...]] = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))
NEARLY: Final = 1e-3  # of a range's width: constants of half precision are rounded
DEEPEST: Final = 100  # operators behind the one that bounds
BYTES: Final[Interval] = (0.0, 255.0)
WIDE: Final = 16.0  # a clip this wide may bound bytes, or values that never come near it
UNIT_AT_MOST: Final = 2.0  # values beyond it are bytes
FILLED: Final = 0.05  # share of a clip's width that samples must take, so that it is no accident


def find_range(
    name: str, graph: GraphProto, output: str, samples: NDArray[np.generic], options: Options
) -> tuple[Interval, bool, Decision]:
    """Find the range of a generator's images.

    Args:
        output: the tensor.
        samples: [N, ...] that the graph computed.

    Returns:
        The range, and whether values outside it can occur.

    Raises:
        ExportError: if it is not known; the message suggests what to state.
    """
    low, high = float(samples.min()), float(samples.max())
    seen = f"{len(samples)} samples lie in [{low:.3g}, {high:.3g}]"
    proved = BYTES if samples.dtype == np.uint8 else interval(graph, output)
    if options.value_range is not None:
        stated = options.value_range
        if (high - low) * BYTES[1] < stated[1] - stated[0]:
            raise ExportError(
                f"{name}: in --range {stated[0]:g} {stated[1]:g} all samples would be of one colour, since {seen}; "
                "state the range of the values themselves"
            )
        inside = proved is not None and stated[0] <= proved[0] and proved[1] <= stated[1]
        why = "as stated" if proved is None or _is_near(stated, proved) else f"as stated, not {told(proved)}"
        return stated, not inside, Decision("range", told(stated), f"{why}; {seen}", "--range")
    if proved is not None and (proved[1] - proved[0] < WIDE or high - low > FILLED * (proved[1] - proved[0])):
        found = next((usual for usual in USUAL if _is_near(usual, proved)), proved)
        why = "it makes bytes" if samples.dtype == np.uint8 else "its last operators bound it"
        return found, found != proved, Decision("range", told(found), f"{why}; {seen}", "--range")
    guess = "-1 1" if low < -NEARLY else "0 1" if high <= UNIT_AT_MOST else "0 255"
    raise ExportError(
        f"{name}: no operator bounds the output {output!r}, and {seen}; state --range {guess} (the likely one) or "
        "another LOW HIGH"
    )


def interval(graph: GraphProto, output: str) -> Interval | None:
    """Bound a tensor by the operators that compute it; None where none bounds it."""
    return _Bounds(graph).of(output, 0)


class _Bounds:
    """The intervals of a graph's tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self._producers = {made: node for node in graph.node for made in node.output}
        self._constants = constants_of(graph)

    def of(self, name: str, depth: int) -> Interval | None:
        """The interval of a tensor; None where no operator bounds it."""
        node = self._producers.get(name)
        return None if node is None or depth > DEEPEST else BOUNDED.get(node.op_type) or self._computed(node, depth)

    def _computed(self, node: NodeProto, depth: int) -> Interval | None:
        inner = [self.of(each, depth + 1) for each in node.input if node.op_type in WALKED]
        match node.op_type:
            case "Cast" if _target(node) == TensorProto.UINT8:
                return _met(inner[0], BYTES)
            case "Concat":
                known = [part for part in inner if part is not None]
                return (min(p[0] for p in known), max(p[1] for p in known)) if len(known) == len(inner) else None
            case "Clip":
                return self._clipped(node, inner[0])
            case operator if operator in ARITHMETIC:
                return _moved(node, [self._scalar(each) for each in node.input], inner)
        return inner[0] if inner else None

    def _clipped(self, node: NodeProto, inner: Interval | None) -> Interval | None:
        low, high = (*(self._scalar(each) for each in node.input[1:]), None, None)[:2]
        return inner if low is None or high is None else _met(inner, (low, high))

    def _scalar(self, name: str) -> float | None:
        """The one number that a constant holds; None for others."""
        if name not in self._constants:
            return None
        values = numpy_helper.to_array(self._constants[name])
        return float(values.flat[0]) if values.size and np.ptp(values.astype(np.float64)) == 0 else None


def told(found: Interval) -> str:
    """A range, for people."""
    return f"[{found[0]:g}, {found[1]:g}]"


def _moved(node: NodeProto, scalars: list[float | None], inner: list[Interval | None]) -> Interval | None:
    """The interval of a bounded tensor after arithmetic with one number."""
    (first, second), (left, right) = scalars, inner
    if left is not None and second is not None:
        bounds, constant, is_left = left, second, True
    elif right is not None and first is not None:
        bounds, constant, is_left = right, first, False
    else:
        return None
    match node.op_type:
        case "Add":
            ends = [end + constant for end in bounds]
        case "Sub":
            ends = [end - constant if is_left else constant - end for end in bounds]
        case "Mul":
            ends = [end * constant for end in bounds]
        case _:
            if not is_left or constant == 0:
                return None
            ends = [end / constant for end in bounds]
    return min(ends), max(ends)


def _met(inner: Interval | None, outer: Interval) -> Interval:
    return outer if inner is None else (max(inner[0], outer[0]), min(inner[1], outer[1]))


def _is_near(usual: Interval, found: Interval) -> bool:
    allowed = NEARLY * (usual[1] - usual[0])
    return abs(usual[0] - found[0]) <= allowed and abs(usual[1] - found[1]) <= allowed


def _target(node: NodeProto) -> int:
    return next((int(helper.get_attribute_value(each)) for each in node.attribute if each.name == "to"), 0)
