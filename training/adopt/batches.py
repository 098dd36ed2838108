"""Makes a fixed batch free, and proves it: rows of a batch against the untouched graph, one row at a time.

    the batch axis of inputs ──▶ dynamic        Reshape to [1, C, H, W] ──▶ [0, C, H, W]: the batch of its input
    Reshape to [1, -1]       ──▶ [0, -1]        Resize to [1, C, H, W]  ──▶ to [H, W], of the last two axes

A graph that is not the same function afterwards (weights computed for one sample, a batch inside another axis) keeps
its batch of one, and is served one sample at a time.

Shapes: N rows, B batch.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from training.export.graphs.onnx_export import BATCH_NAME
from training.export.graphs.parity import magnitude
from training.export.graphs.runtime import Arrays, Graph, rows_of
from training.progress import progress

BATCH_SIZES: Final = (1, 2, 3, 5, 8)  # one, odd ones, usual ones
ROWS: Final = sum(BATCH_SIZES)
ONE_BY_ONE: Final = (1,) * ROWS
TOLERANCE: Final = 1e-4  # of the largest value; absolute below 1
# Sums of half-precision products differ by some units of 2^-10, more where maps are deep.
HALF_TOLERANCE: Final = 2e-2
SIZES_ONLY: Final = frozenset({"Shape", "Size"})
IMAGE_RANK: Final = 4
MOST_ELEMENTS: Final = 1024  # of a constant that is a shape and not a weight

Seen = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Original:
    """Graphs as they were given, run one row at a time, each on what those before it made.

    Args:
        stages: serialized, in the order in which they are run.
        bound: inputs that are the same for every row, by name.
        links: names of inputs by the names of the outputs of earlier stages that they are.
    """

    def __init__(
        self, stages: Sequence[bytes], bound: Mapping[str, NDArray[np.generic]], links: Mapping[str, str] | None = None
    ) -> None:
        self._stages = [Graph(content, silent=True) for content in stages]
        self._bound, self._links = dict(bound), dict(links or {})
        inputs = [port for port in self._stages[0].inputs if port.name not in self._bound and port.shape]
        self.batch = max((port.shape[0] for port in inputs if isinstance(port.shape[0], int)), default=1)
        self.is_fixed = any(isinstance(port.shape[0], int) for port in inputs)

    def rows(self, inputs: Arrays) -> Arrays:
        """Compute rows one by one; a graph of a larger fixed batch gets copies of each.

        Args:
            inputs: [N, ...] by name, of the graph's own types and shapes.

        Returns:
            [N, ...] by the names of the outputs.
        """
        count = len(next(iter(inputs.values())))
        found: list[Arrays] = []
        for row in progress(range(count), "running the files as they are", count, "sample"):
            alone = rows_of(inputs, slice(row, row + 1))
            outputs = self.run({name: np.repeat(values, self.batch, axis=0) for name, values in alone.items()})
            found.append({name: values[:1] if values.ndim else values[np.newaxis] for name, values in outputs.items()})
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def run(self, inputs: Arrays) -> Arrays:
        """Compute one batch; the outputs of the last stage."""
        known: Arrays = {**inputs, **self._bound}
        outputs: Arrays = {}
        for stage in self._stages:
            outputs = stage.run({port.name: known[port.name] for port in stage.inputs})
            known |= {self._links[name]: values for name, values in outputs.items() if name in self._links}
        return outputs


def constants_of(graph: GraphProto) -> dict[str, TensorProto]:
    """The weights and constants of a graph by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                value = onnx.helper.get_attribute_value(attribute)
                if attribute.name == "value":
                    found[node.output[0]] = value
                elif attribute.name in {"value_int", "value_ints"}:
                    found[node.output[0]] = numpy_helper.from_array(np.array(value, np.int64))
                elif attribute.name in {"value_float", "value_floats"}:
                    found[node.output[0]] = numpy_helper.from_array(np.array(value, np.float32))
    return found


def free(model: ModelProto, batched: Collection[str], batch: int) -> ModelProto:
    """Make the batch of a graph free where constants fix it; whether that succeeded, `largest_gap` shows.

    Args:
        model: plain, with shapes that its inputs state.
        batched: names of the inputs whose first axis is the batch.
        batch: that the graph was exported with.

    Returns:
        A copy.
    """
    freed, shapes = with_batch(model, batched, BATCH_NAME), _shapes(with_batch(model, batched, batch))
    constants = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in constants_of(freed.graph).items()
        if np.prod(tensor.dims) <= MOST_ELEMENTS and tensor.data_type == onnx.TensorProto.INT64
    }
    of_batch = set(batched)
    for node in freed.graph.node:
        if node.op_type in SIZES_ONLY or of_batch.isdisjoint(node.input):
            continue
        of_batch.update(node.output)
        target = node.input[1] if node.op_type == "Reshape" else node.input[-1]
        if target not in constants or node.input[0] not in of_batch:
            continue
        if node.op_type == "Reshape":
            _free_reshape(freed, node, constants[target], shapes.get(node.input[0]), batch)
        elif node.op_type == "Resize" and len(node.input) == IMAGE_RANK:
            _free_resize(freed, node, constants[target])
    return freed


def largest_gap(
    original: Arrays, content: bytes, inputs: Arrays, sizes: Sequence[int] = BATCH_SIZES, seen: Seen = np.asarray
) -> float:
    """Compare batches of a graph with rows that were computed one by one.

    Args:
        original: [N, ...] by output of the graph, N at least `ROWS`.
        content: of the graph, with the package's tensors.
        inputs: [N, ...] by name.
        sizes: of the batches.
        seen: what of the graph's outputs is compared.

    Returns:
        The largest difference, relative to the largest value where that is above 1; infinite where it cannot run.
    """
    try:
        graph, start, worst = Graph(content, silent=True), 0, 0.0
        for size in sizes:
            rows = slice(start, start + size)
            found = graph.run(rows_of(inputs, rows))
            for name, values in original.items():
                expected, got = values[rows].astype(np.float64), seen(found[name].astype(np.float64))
                if expected.shape != got.shape:
                    return float("inf")
                worst = max(worst, float(np.abs(expected - got).max()) / magnitude(expected))
            start += size
    except Exception:  # noqa: BLE001 - ONNX Runtime's own types; whatever it is, the graph does not run in batches
        return float("inf")
    return worst if np.isfinite(worst) else float("inf")


def with_batch(model: ModelProto, batched: Collection[str], batch: int | str) -> ModelProto:
    """Make a copy whose inputs have a batch of a size or a name."""
    copied = ModelProto()
    copied.CopyFrom(model)
    for value in copied.graph.input:
        if value.name in batched:
            axis = value.type.tensor_type.shape.dim[0]
            if isinstance(batch, str):
                axis.dim_param = batch
            else:
                axis.dim_value = batch
    for value in copied.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copied


def _free_reshape(
    model: ModelProto, node: NodeProto, target: NDArray[np.int64], taken: tuple[int, ...] | None, batch: int
) -> None:
    """Let the first axis follow the batch: the input's own where that is the batch, else whatever is left."""
    if target.ndim != 1 or len(target) == 0 or target[0] != batch:
        return
    freed = target.copy()
    if taken is not None and taken[:1] == (batch,):
        freed[0] = 0
    elif -1 not in target:
        freed[0] = -1
    else:
        return
    for attribute in list(node.attribute):
        if attribute.name == "allowzero":
            node.attribute.remove(attribute)
    node.input[1] = _constant(model, freed)


def _free_resize(model: ModelProto, node: NodeProto, sizes: NDArray[np.int64]) -> None:
    """State height and width alone; opset 18 can."""
    if sizes.shape != (IMAGE_RANK,) or any(attribute.name == "axes" for attribute in node.attribute):
        return
    node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    node.input[3] = _constant(model, sizes[2:])


def _constant(model: ModelProto, values: NDArray[np.int64]) -> str:
    name = f"freed/{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    return name


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes that are known wholly, for a batch of one."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in dims):
            found[value.name] = tuple(axis.dim_value for axis in dims)
    return found
