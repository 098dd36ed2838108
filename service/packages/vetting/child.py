"""The program that looks inside ONNX graphs, so that the service does not have to.

    python -m service.packages.vetting.child --memory-bytes N --cpu-s N  < request  > verdict

A graph is a program from a file, and parsers of such files have had holes. So they are parsed here, in a child process
that gives up memory, time, files and children before it reads a byte, has nothing worth stealing, and whose death is a
verdict too. What passes is run here once as well (`canary.py`). It is the only module that imports `onnx`, and nothing
imports it.

The request is one line of JSON, `{"graphs": [{file, bytes, opset, inputs, outputs}, …]}`, and then the graphs' bytes
one after the other; the verdict is one line of JSON, `{"refusal": null}` or `{"refusal": "…"}`.

A graph that passes is one file; uses standard operators of the stated opset, of those that inference of MLPs,
convolutional networks and transformers needs; draws no noise (all of it is an input, else a seed would not say which
sample it means); has no control flow, functions or training mode; has the tensors that the manifest states, with a
free batch; no tensor whose size depends on the numbers that it is given, or is beyond reason; and survives a run.

References:
    CVE-2022-25882, CVE-2024-5187, CVE-2026-34445: external data of ONNX files.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypedDict

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from service.engine.model_spec import Datatype, Role, TensorSpec
from service.errors import GraphRefused
from service.packages.vetting.batch_axis import ACROSS_AN_AXIS, Step, first_mixing_step
from service.packages.vetting.sandbox import OPERATORS, RANDOM_OPERATORS, confine, smoke_run

MAX_NODES = 10_000  # StyleGAN2 at 1024×1024 has about a thousand
MAX_INITIALIZERS = 10_000
MAX_TENSOR_BYTES = 2**30  # of one intermediate tensor, for one sample: 1024×1024 with 256 maps, in float32
LARGEST_BY_DEFAULT = 64  # samples in one run
# Every batch that is run by default, since a tensor may be small in some and huge in one between them; then those that
# the engine runs where the operator allows it more.
BATCHES: Final = (*range(1, LARGEST_BY_DEFAULT + 1), 128, 256, 512, 1024, 2048, 4096)
MOST_SHAPE_ELEMENTS = 1024  # of a constant that says shapes, axes or places; weights proper are larger, or no shapes
# What shape inference hands the numbers of a shape through, unchanged.
MOVES: Final = frozenset({"Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})
FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
MAX_REASON = 300  # characters of the library's own words
ELEMENT_TYPES: Final[Mapping[str, int]] = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "UINT8": TensorProto.UINT8,
    "INT64": TensorProto.INT64,
}
# Element type of a weight → its bytes, and where a weight that is not raw keeps its elements.
WEIGHT_TYPES: Final[Mapping[int, tuple[int, str]]] = {
    TensorProto.FLOAT: (4, "float_data"),
    TensorProto.DOUBLE: (8, "double_data"),
    TensorProto.FLOAT16: (2, "int32_data"),
    TensorProto.BFLOAT16: (2, "int32_data"),
    TensorProto.INT64: (8, "int64_data"),
    TensorProto.INT32: (4, "int32_data"),
    TensorProto.INT8: (1, "int32_data"),
    TensorProto.UINT8: (1, "int32_data"),
    TensorProto.BOOL: (1, "int32_data"),
}
PLAIN_ATTRIBUTES: Final = frozenset(
    {
        AttributeProto.FLOAT,
        AttributeProto.FLOATS,
        AttributeProto.INT,
        AttributeProto.INTS,
        AttributeProto.STRING,
        AttributeProto.STRINGS,
        AttributeProto.TENSOR,
    }
)
# Operator → the axis that it computes across where it names none; those not listed compute across all.
DEFAULT_AXES: Final[Mapping[str, int]] = {
    "ArgMax": 0,
    "ArgMin": 0,
    "Hardmax": -1,
    "LogSoftmax": -1,
    "LpNormalization": -1,
    "Softmax": -1,
    "TopK": -1,
}


class StatedTensor(TypedDict):
    """What the manifest says of one input or output."""

    name: str
    datatype: Datatype
    shape: list[int]
    role: Role


class StatedGraph(TypedDict):
    """What the manifest says of one graph, and how many of the following bytes are its own."""

    file: str
    bytes: int
    opset: int
    inputs: list[StatedTensor]
    outputs: list[StatedTensor]
    batch_coupled: bool


class Refused(Exception):
    """A graph does what none may do, or is not what the manifest says."""


def vet(content: bytes, stated: StatedGraph) -> None:
    """Look inside one graph.

    Args:
        content: the serialized graph.
        stated: what the manifest says of it.

    Raises:
        Refused: with the reason.
        GraphRefused: ONNX Runtime cannot load or run it.
    """
    try:
        model = ModelProto.FromString(content)
    except DecodeError as error:
        if "alloc" in str(error):  # protobuf words a lack of memory as a fault of the file
            raise MemoryError from error
        raise Refused("is not an ONNX graph, or is truncated") from error
    check_model(model, stated["opset"])
    check_nodes(model.graph.node)
    check_weights(model.graph)
    inferred = infer(content)
    check_tensors("input", inferred.input, stated["inputs"])
    check_tensors("output", inferred.output, stated["outputs"])
    check_counts(inferred)
    check_sizes(model, batch_coupled=stated["batch_coupled"])
    if not stated["batch_coupled"] and any(tensor["role"] == "logit" for tensor in stated["outputs"]):
        check_scores(inferred)
    smoke_run(content, specs(stated["inputs"]), specs(stated["outputs"]))


def specs(stated: list[StatedTensor]) -> tuple[TensorSpec, ...]:
    """Word stated tensors as the engine does."""
    return tuple(TensorSpec(each["name"], each["datatype"], tuple(each["shape"]), each["role"]) for each in stated)


def check_model(model: ModelProto, opset: int) -> None:
    """Refuse whatever a graph can carry besides its nodes, and other operators than the stated opset's."""
    if model.functions:
        raise Refused(f"defines functions ({model.functions[0].name}); inline them before export")
    if model.training_info:
        raise Refused("carries training information")
    opsets = {imported.domain or "ai.onnx": imported.version for imported in model.opset_import}
    if opsets != {"ai.onnx": opset}:
        found = ", ".join(f"{domain} {version}" for domain, version in sorted(opsets.items()))
        raise Refused(f"imports the operators {found or 'of no opset'}; the manifest states ai.onnx {opset} alone")


def check_nodes(nodes: Iterable[NodeProto]) -> None:
    """Refuse every operator that is not of the list, and what would make one of the list depend on chance or files."""
    for index, node in enumerate(nodes):
        where = f"node {index} ({node.op_type})"
        if index == MAX_NODES:
            raise Refused(f"has more than {MAX_NODES} nodes")
        if node.domain not in {"", "ai.onnx"}:
            raise Refused(f"{where}: the operator is of the domain {node.domain!r}, not a standard one")
        if node.op_type in RANDOM_OPERATORS:
            raise Refused(f"{where}: draws its own noise; all noise must be an input")
        if node.op_type not in OPERATORS:
            raise Refused(f"{where}: the operator is not one that inference needs")
        for attribute in node.attribute:
            if attribute.type not in PLAIN_ATTRIBUTES or attribute.ref_attr_name:
                raise Refused(f"{where}: the attribute {attribute.name!r} is not plain data")
            if attribute.name == "training_mode" and attribute.i != 0:
                raise Refused(f"{where}: is in training mode, where a sample depends on its batch-mates")
            if attribute.type == AttributeProto.TENSOR:
                check_weight(f"{where}: the attribute {attribute.name!r}", attribute.t)


def check_weights(graph: GraphProto) -> None:
    """Refuse weights that are elsewhere, that lie about their size, or that a caller could replace."""
    if graph.sparse_initializer or graph.quantization_annotation:
        raise Refused("has sparse weights or quantisation annotations, which are not read")
    if len(graph.initializer) > MAX_INITIALIZERS:
        raise Refused(f"has {len(graph.initializer)} weights; at most {MAX_INITIALIZERS} are read")
    replaceable = {tensor.name for tensor in graph.initializer} & {value.name for value in graph.input}
    if replaceable:
        raise Refused(f"the weight {min(replaceable)!r} is an input as well, so that a caller could replace it")
    for tensor in graph.initializer:
        check_weight(f"the weight {tensor.name!r}", tensor)


def check_weight(where: str, tensor: TensorProto) -> None:
    """Refuse a weight whose elements are not exactly those that its shape counts, here in this file."""
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        raise Refused(f"{where}: is external data; a package's graph is one file")
    if tensor.HasField("segment"):
        raise Refused(f"{where}: is only a segment")
    if tensor.data_type not in WEIGHT_TYPES:
        raise Refused(f"{where}: has elements of a type ({tensor.data_type}) that is not read")
    element_bytes, field = WEIGHT_TYPES[tensor.data_type]
    if any(axis < 0 for axis in tensor.dims):
        raise Refused(f"{where}: has a negative axis")
    expected = math.prod(tensor.dims)
    found = len(tensor.raw_data) / element_bytes if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if found != expected:
        raise Refused(f"{where}: has shape {list(tensor.dims)} and so {expected} elements, but holds {found:g}")


def infer(content: bytes) -> GraphProto:
    """Run the library's own full check; answer the graph with the shape of every tensor that can be known."""
    try:
        onnx.checker.check_model(content)
        inferred = onnx.shape_inference.infer_shapes(content, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise Refused(f"is not valid ONNX: {reason[:MAX_REASON]}") from error
    return inferred.graph


def check_tensors(side: str, found: Iterable[ValueInfoProto], stated: list[StatedTensor]) -> None:
    """Refuse inputs or outputs other than the stated ones, and any batch that is not free."""
    found = list(found)
    names = [value.name for value in found]
    if names != [tensor["name"] for tensor in stated]:
        wanted = ", ".join(tensor["name"] for tensor in stated)
        raise Refused(f"has the {side}s {', '.join(names)}; the manifest states {wanted}")
    for value, tensor in zip(found, stated, strict=True):
        where = f"{side} {tensor['name']}"
        kind = value.type.tensor_type
        if kind.elem_type != ELEMENT_TYPES[tensor["datatype"]]:
            raise Refused(
                f"{where}: has elements of ONNX type {kind.elem_type}; the manifest states {tensor['datatype']}"
            )
        shape = list(axes(value))
        if shape and shape[0] is not None:
            raise Refused(f"{where}: its batch is fixed at {shape[0]}; export it with a dynamic first axis")
        if [-1, *shape[1:]] != tensor["shape"]:
            words = [-1 if axis is None else axis for axis in shape]
            raise Refused(f"{where}: has shape {words}; the manifest states {tensor['shape']}")


def axes(value: ValueInfoProto) -> Iterator[int | None]:
    """The axes of a tensor, None where only a run will know."""
    for axis in value.type.tensor_type.shape.dim:
        yield axis.dim_value if axis.HasField("dim_value") else None


def check_sizes(model: ModelProto, *, batch_coupled: bool) -> None:
    """Refuse a tensor whose size is the input's to choose, or so large that one sample would exhaust the service.

    With its batch fixed at a number, every axis of a graph whose sizes depend on nothing but the batch can be inferred;
    what cannot is computed from the numbers that the graph is given, or is as good as that.

    Args:
        model: the graph.
        batch_coupled: whether the manifest says that samples of a batch meet, which takes tensors of its square.

    Raises:
        Refused: with the tensor's name, and that of its operator where it is not the size alone.
    """
    bare = skeleton(model)
    batched = bare.graph.input[: len(model.graph.input)]  # behind them stand weights
    of_one: dict[str, int] = {}
    for batch in BATCHES:
        for value in batched:
            value.type.tensor_type.shape.dim[0].dim_value = batch
        sizes = sizes_at(bare, batch)
        of_one = of_one or sizes
        for name, size in sizes.items():
            if size > batch * MAX_TENSOR_BYTES or of_one[name] > MAX_TENSOR_BYTES:
                raise Refused(
                    f"the tensor {name!r} takes {-(-size // batch)} bytes a sample in a batch of {batch}; at most "
                    f"{MAX_TENSOR_BYTES} are allowed"
                )
            meets = batch_coupled and batch > LARGEST_BY_DEFAULT
            if not meets and size > max(batch * of_one[name], MAX_TENSOR_BYTES):
                raise Refused(
                    f"the tensor {name!r} grows faster than its batch, to {size} bytes in a batch of {batch}; at most "
                    f"{MAX_TENSOR_BYTES} are allowed then"
                )


def sizes_at(bare: ModelProto, batch: int) -> dict[str, int]:
    """Answer the bytes of every tensor that the nodes compute, of a skeleton whose batch is fixed at a number."""
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise Refused(f"has no shapes for a batch of {batch}: {reason[:MAX_REASON]}") from error
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    sizes = {}
    for index, node in enumerate(inferred.node):
        for name in filter(None, node.output):
            value = known.get(name)
            if value is None or not value.type.tensor_type.HasField("shape") or None in (shape := tuple(axes(value))):
                raise Refused(
                    f"node {index} ({node.op_type}): the size of {name!r} depends on more than the batch; shapes must "
                    "follow from constants and from the shapes of inputs"
                )
            element_bytes, _ = WEIGHT_TYPES.get(value.type.tensor_type.elem_type, (8, ""))
            sizes[name] = element_bytes * math.prod(axis for axis in shape if axis is not None)
    return sizes


def skeleton(model: ModelProto) -> ModelProto:
    """A graph as far as shapes go: its inputs, and behind them the larger weights, of which only the shapes stay."""
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
    """Refuse arithmetic with the batch by which a size could be small at the batches that are tried, and huge else.

    A product of differences vanishes wherever its author likes, a table has a size of its own for each batch, and
    inference hands through a conversion that wraps or rounds. What remains, a batch times a constant, is what exporters
    write.

    Args:
        graph: with the shape of every tensor that can be known; the batch is none of those.

    Raises:
        Refused: with the operator's name.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    fixed = {
        value.name: [axis is not None for axis in axes(value)]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    fixed |= {tensor.name: [True] * len(tensor.dims) for tensor in graph.initializer}
    shapes: dict[str, list[bool]] = {}  # output of a plain Shape → which of its axes are fixed
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
        elif not hands_through(node, found) or takes_fixed(node, shapes, constants):
            continue
        (rounded if as_float else counted).add(node.output[0])


def check_multiple(index: int, node: NodeProto, found: list[str]) -> None:
    """Refuse what makes another number of integers that depend on the batch than a multiple of one."""
    if node.op_type == "Gather" and node.input[1] in found:
        raise Refused(f"node {index} (Gather): looks a number up by the batch")
    if node.op_type in {"Add", "Sub"} or (node.op_type == "Mul" and len(found) > 1):
        raise Refused(f"node {index} ({node.op_type}): computes a size from the batch other than a multiple of it")


def rounds(index: int, node: NodeProto, attributes: Mapping[str, AttributeProto], *, as_float: bool) -> bool:
    """Say whether a number of the batch is floating-point behind a conversion; refuse one that wraps or rounds."""
    target = attributes["to"].i if "to" in attributes else TensorProto.UNDEFINED
    if target in FLOATS:
        return True
    if target != TensorProto.INT64 or as_float:
        raise Refused(f"node {index} ({node.op_type}): converts a number that depends on the batch to integers")
    return False


def hands_through(node: NodeProto, found: list[str]) -> bool:
    """Whether inference hands numbers of the batch through an operator, and not only shapes made of them."""
    return node.op_type in {"Add", "Concat", "Mul", "Sub"} or (node.op_type in MOVES and node.input[0] in found)


def takes_fixed(node: NodeProto, shapes: Mapping[str, list[bool]], constants: Mapping[str, TensorProto]) -> bool:
    """Whether a Gather takes those numbers of a shape alone that do not depend on the batch."""
    of_axes = shapes.get(node.input[0])
    if node.op_type != "Gather" or of_axes is None or node.input[1] not in constants:
        return False
    places = onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()
    return all(-len(of_axes) <= place < len(of_axes) and of_axes[place] for place in places)


def check_scores(graph: GraphProto) -> None:
    """Refuse a discriminator whose scores depend on what is scored beside a sample, which the manifest denies."""
    mixing = first_mixing_step(steps(graph), (value.name for value in graph.input))
    if mixing is not None:
        raise Refused(
            f"node {mixing} ({graph.node[mixing].op_type}): computes across the first axis, where the samples of a "
            "batch stand; state batch_coupled: true, or export it with another axis first"
        )


def steps(graph: GraphProto) -> Iterator[Step]:
    """Word the nodes as plain data."""
    integers = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            integers[node.output[0]] = attributes["value"].t
        axes: tuple[int, ...] | None = ()
        if node.op_type in ACROSS_AN_AXIS:
            axes = axes_across(node, attributes, integers)
            rank = ranks.get(node.input[0], 0)
            axes = None if axes is None else tuple(axis + rank if axis < 0 else axis for axis in axes)
        yield Step(node.op_type, tuple(node.input), tuple(node.output), axes)


def axes_across(
    node: NodeProto, attributes: Mapping[str, AttributeProto], integers: Mapping[str, TensorProto]
) -> tuple[int, ...] | None:
    """Axes that a node computes across, by whichever way of its operator's versions it names them; None for all."""
    if "axes" in attributes:
        return tuple(attributes["axes"].ints)
    if "axis" in attributes:
        return (attributes["axis"].i,)
    if node.op_type in DEFAULT_AXES:
        return (DEFAULT_AXES[node.op_type],)
    named = integers.get(node.input[1]) if len(node.input) > 1 else None
    return None if named is None else tuple(onnx.numpy_helper.to_array(named).ravel().tolist())


def main() -> None:
    """Read one request from standard input, write one verdict to standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    arguments = parser.parse_args()
    confine(arguments.memory_bytes, arguments.cpu_s)
    graphs: list[StatedGraph] = json.loads(sys.stdin.buffer.readline())["graphs"]
    refusal = None
    for stated in graphs:
        try:
            vet(sys.stdin.buffer.read(stated["bytes"]), stated)
        except (Refused, GraphRefused) as error:
            refusal = f"{stated['file']}: {error}"
            break
    sys.stdout.write(json.dumps({"refusal": refusal}) + "\n")


if __name__ == "__main__":
    main()
