"""How large a graph's tensors become: sizes must follow from constants and from multiples of the batch, within limits.

Shape inference runs with the batch fixed at each number that the service may use. It sees only the batches it tries, so
`check_counts` refuses arithmetic by which a size could be small at those and huge at another; and it cannot infer a
size that depends on the values of an input, which is why a size that stays unknown is refused as well.
"""

import math
from collections.abc import Mapping
from typing import Final

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from service.errors import GraphRefused
from service.packages.vetting.rules import MAX_REASON, WEIGHT_TYPES, axes

MAX_TENSOR_BYTES = 2**30  # of one intermediate tensor, for one sample: 1024×1024 with 256 maps, in float32
LARGEST_BY_DEFAULT = 64  # samples in one run
# Every batch that is run by default, since a tensor may be small in some and huge in one between them; then those that
# the engine runs where the operator allows it more.
BATCHES: Final = (*range(1, LARGEST_BY_DEFAULT + 1), 128, 256, 512, 1024, 2048, 4096)
MOST_SHAPE_ELEMENTS = 1024  # of a constant that may hold shapes, axes or indices; a larger one is a weight
# Operators through which shape inference propagates the values of a shape unchanged.
MOVES: Final = frozenset({"Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})
FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def check_sizes(model: ModelProto, *, batch_coupled: bool) -> None:
    """Refuse a tensor whose size depends on an input's values, or is beyond `MAX_TENSOR_BYTES`.

    Args:
        model: the graph.
        batch_coupled: whether the manifest says that samples of a batch interact, which takes tensors of its square.

    Raises:
        GraphRefused: with the tensor's name, and its operator's where the size is unknown.
    """
    try:
        bare = skeleton(model)
    except UnicodeDecodeError as error:
        raise GraphRefused("has a name that is not UTF-8") from error
    batched = bare.graph.input[: len(model.graph.input)]  # the larger weights follow them
    of_one: dict[str, int] = {}
    for batch in BATCHES:
        for value in batched:
            value.type.tensor_type.shape.dim[0].dim_value = batch
        sizes = sizes_at(bare, batch)
        of_one = of_one or sizes
        for name, size in sizes.items():
            if size > batch * MAX_TENSOR_BYTES or of_one[name] > MAX_TENSOR_BYTES:
                raise GraphRefused(
                    f"the tensor {name!r} takes {-(-size // batch)} bytes a sample in a batch of {batch}; at most "
                    f"{MAX_TENSOR_BYTES} are allowed"
                )
            meets = batch_coupled and batch > LARGEST_BY_DEFAULT
            if not meets and size > max(batch * of_one[name], MAX_TENSOR_BYTES):
                raise GraphRefused(
                    f"the tensor {name!r} grows faster than its batch, to {size} bytes in a batch of {batch}; at most "
                    f"{MAX_TENSOR_BYTES} are allowed then"
                )


def sizes_at(bare: ModelProto, batch: int) -> dict[str, int]:
    """The bytes of every tensor that the nodes compute, for a skeleton whose batch is fixed at a number."""
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise GraphRefused(f"has no shapes for a batch of {batch}: {reason[:MAX_REASON]}") from error
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    sizes = {}
    for index, node in enumerate(inferred.node):
        for name in filter(None, node.output):
            value = known.get(name)
            if value is None or not value.type.tensor_type.HasField("shape") or None in (shape := tuple(axes(value))):
                raise GraphRefused(
                    f"node {index} ({node.op_type}): the size of {name!r} depends on more than the batch; shapes must "
                    "follow from constants and from the shapes of inputs"
                )
            element_bytes, _ = WEIGHT_TYPES.get(value.type.tensor_type.elem_type, (8, ""))
            sizes[name] = element_bytes * math.prod(axis for axis in shape if axis is not None)
    return sizes


def skeleton(model: ModelProto) -> ModelProto:
    """What shape inference needs of a graph: the larger weights become inputs, of which only the shapes are kept."""
    graph = model.graph
    bare = GraphProto(name=graph.name, node=graph.node)
    for value in graph.input:
        bare.input.add().CopyFrom(value)
    for value in graph.output:
        bare.output.add(name=value.name).type.tensor_type.elem_type = value.type.tensor_type.elem_type
    for weight in graph.initializer:
        if math.prod(weight.dims) <= MOST_SHAPE_ELEMENTS:
            bare.initializer.add().CopyFrom(weight)
        else:
            bare.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    return ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=bare)


def check_counts(graph: GraphProto) -> None:
    """Refuse arithmetic with the batch that could make a size small at the batches tried, and huge at others.

    A product of differences vanishes at any batches its author chooses, a lookup table gives each batch a size of its
    own, and conversions wrap or round. What remains, a batch times a constant, is what exporters write.

    Args:
        graph: with every shape that can be inferred while the batch is free.

    Raises:
        GraphRefused: with the operator's name.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    fixed = {
        value.name: [axis is not None for axis in axes(value)]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    fixed |= {tensor.name: [True] * len(tensor.dims) for tensor in graph.initializer}
    shapes: dict[str, list[bool]] = {}  # output of a Shape → which of its axes are fixed
    counted: set[str] = set()  # integers that depend on the batch
    rounded: set[str] = set()  # the same as floating-point numbers
    for index, node in enumerate(graph.node):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            constants[node.output[0]] = attributes["value"].t
        if node.op_type in {"Shape", "Size"}:
            start, end = (attributes[name].i if name in attributes else None for name in ("start", "end"))
            shapes[node.output[0]] = fixed.get(node.input[0], [False])[start:end]
            if not all(shapes[node.output[0]]):
                counted.add(node.output[0])
            continue
        found = [name for name in node.input if name in counted or name in rounded]
        if not found:
            continue
        as_float = any(name in rounded for name in found)
        if not as_float:
            check_multiple(index, node, found)
        if node.op_type in {"Cast", "CastLike"}:
            as_float = rounds(index, node, attributes, as_float=as_float)
        elif not propagates(node, found) or takes_fixed_axes(node, shapes, constants):
            continue
        (rounded if as_float else counted).add(node.output[0])


def check_multiple(index: int, node: NodeProto, found: list[str]) -> None:
    """Refuse arithmetic whose result is not a multiple of an integer that depends on the batch."""
    if node.op_type == "Gather" and node.input[1] in found:
        raise GraphRefused(f"node {index} (Gather): looks a number up by the batch")
    if node.op_type in {"Add", "Sub"} or (node.op_type == "Mul" and len(found) > 1):
        raise GraphRefused(f"node {index} ({node.op_type}): computes a size from the batch other than a multiple of it")


def rounds(index: int, node: NodeProto, attributes: Mapping[str, AttributeProto], *, as_float: bool) -> bool:
    """Whether a number that depends on the batch becomes floating-point; refuse a conversion that wraps or rounds."""
    target = attributes["to"].i if "to" in attributes else TensorProto.UNDEFINED
    if target in FLOATS:
        return True
    if target != TensorProto.INT64 or as_float:
        raise GraphRefused(f"node {index} ({node.op_type}): converts a number that depends on the batch to integers")
    return False


def propagates(node: NodeProto, found: list[str]) -> bool:
    """Whether inference propagates values through an operator, and not only the shapes made of them."""
    return node.op_type in {"Add", "Concat", "Mul", "Sub"} or (node.op_type in MOVES and node.input[0] in found)


def takes_fixed_axes(node: NodeProto, shapes: Mapping[str, list[bool]], constants: Mapping[str, TensorProto]) -> bool:
    """Whether a Gather takes only those axes of a shape that do not depend on the batch."""
    of_axes = shapes.get(node.input[0])
    if node.op_type != "Gather" or of_axes is None or node.input[1] not in constants:
        return False
    places = onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()
    return all(-len(of_axes) <= place < len(of_axes) and of_axes[place] for place in places)
