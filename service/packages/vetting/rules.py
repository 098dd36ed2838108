"""What a graph may contain: operators, attributes, weights, inputs and outputs; all else raises `GraphRefused`.

Text that is not UTF-8 comes out of protobuf as bytes, which are neither joined nor ordered among strings.

References:
    CVE-2022-25882, CVE-2024-5187, CVE-2026-34445: external data of ONNX files.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from service.engine.model_spec import Datatype, TensorSpec
from service.errors import GraphRefused

MAX_NODES = 10_000  # StyleGAN2 at 1024×1024 has about a thousand
MAX_INITIALIZERS = 10_000
MAX_REASON = 300  # characters of the library's own words
ELEMENT_TYPES: Final[Mapping[Datatype, int]] = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "UINT8": TensorProto.UINT8,
    "INT64": TensorProto.INT64,
}
# Element type of a weight → bytes of an element, and the field that holds the elements where `raw_data` does not.
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
RANDOM_OPERATORS: Final = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
OPERATOR_FAMILIES: Final = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh Ceil Clip Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual",
    "IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sinh Sqrt Sub Sum",
    "Tan Where Xor",
    # activations
    "Celu Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu Shrink Sigmoid Softmax",
    "Softplus Softsign Swish Tanh ThresholdedRelu",
    # layers with weights
    "Attention Conv ConvTranspose DeformConv Einsum Gemm MatMul RotaryEmbedding",
    "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization",
    "MeanVarianceNormalization RMSNormalization",
    # pooling and reduction
    "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd",
    "ReduceSum ReduceSumSquare TopK",
    # shapes, indexing and resampling
    "Cast CastLike Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity",
    "OneHot Pad Range Reshape ScatterElements ScatterND Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze",
    "AffineGrid CenterCropPad DepthToSpace GridSample Resize SpaceToDepth",
    # integer arithmetic
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear",
)
OPERATORS: Final = frozenset(name for family in OPERATOR_FAMILIES for name in family.split())


def parse(content: bytes) -> ModelProto:
    """Parse a serialized graph; raises MemoryError where it needs more memory than there is."""
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        if "alloc" in str(error):  # protobuf words a lack of memory as a fault of the file
            raise MemoryError from error
        raise GraphRefused("is not an ONNX graph, or is truncated") from error
    return model


def check_model(model: ModelProto, opset: int) -> None:
    """Refuse functions, training information, and operators of other sets than the stated opset."""
    if model.functions:
        raise GraphRefused(f"defines functions ({model.functions[0].name}); inline them before export")
    if model.training_info:
        raise GraphRefused("carries training information")
    opsets = {imported.domain or "ai.onnx": imported.version for imported in model.opset_import}
    if opsets != {"ai.onnx": opset}:
        found = ", ".join(sorted(f"{domain} {version}" for domain, version in opsets.items()))
        raise GraphRefused(f"imports the operators {found or 'of no opset'}; the manifest states ai.onnx {opset} alone")


def check_nodes(nodes: Iterable[NodeProto]) -> None:
    """Refuse every operator outside `OPERATORS`, and attributes that bring in training mode, subgraphs or files."""
    for index, node in enumerate(nodes):
        where = f"node {index} ({node.op_type})"
        if index == MAX_NODES:
            raise GraphRefused(f"has more than {MAX_NODES} nodes")
        if node.domain not in {"", "ai.onnx"}:
            raise GraphRefused(f"{where}: the operator is of the domain {node.domain!r}, not a standard one")
        if node.op_type in RANDOM_OPERATORS:
            raise GraphRefused(f"{where}: draws its own noise; all noise must be an input")
        if node.op_type not in OPERATORS:
            raise GraphRefused(f"{where}: the operator is not one that inference needs")
        for attribute in node.attribute:
            if attribute.type not in PLAIN_ATTRIBUTES or attribute.ref_attr_name:
                raise GraphRefused(f"{where}: the attribute {attribute.name!r} is not plain data")
            if attribute.name == "training_mode" and attribute.i != 0:
                raise GraphRefused(f"{where}: is in training mode, where a sample depends on its batch-mates")
            if attribute.type == AttributeProto.TENSOR:
                check_weight(f"{where}: the attribute {attribute.name!r}", attribute.t)


def check_weights(graph: GraphProto) -> None:
    """Refuse weights outside the file, of another size than their shape, or that a caller could replace."""
    if graph.sparse_initializer or graph.quantization_annotation:
        raise GraphRefused("has sparse weights or quantisation annotations, which are not read")
    if len(graph.initializer) > MAX_INITIALIZERS:
        raise GraphRefused(f"has {len(graph.initializer)} weights; at most {MAX_INITIALIZERS} are read")
    replaceable = {tensor.name for tensor in graph.initializer} & {value.name for value in graph.input}
    if replaceable:
        raise GraphRefused(
            f"the weight {min(map(str, replaceable))!r} is an input as well, so that a caller could replace it"
        )
    for tensor in graph.initializer:
        check_weight(f"the weight {tensor.name!r}", tensor)


def check_weight(where: str, tensor: TensorProto) -> None:
    """Refuse a weight whose elements are not in this file, or not as many as its shape says."""
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        raise GraphRefused(f"{where}: is external data; a package's graph is one file")
    if tensor.HasField("segment"):
        raise GraphRefused(f"{where}: is only a segment")
    if tensor.data_type not in WEIGHT_TYPES:
        raise GraphRefused(f"{where}: has elements of a type ({tensor.data_type}) that is not read")
    element_bytes, field = WEIGHT_TYPES[tensor.data_type]
    if any(axis < 0 for axis in tensor.dims):
        raise GraphRefused(f"{where}: has a negative axis")
    expected = math.prod(tensor.dims)
    found = len(tensor.raw_data) / element_bytes if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if found != expected:
        raise GraphRefused(f"{where}: has shape {list(tensor.dims)} and so {expected} elements, but holds {found:g}")


def infer(content: bytes) -> GraphProto:
    """Run the library's own full check, and return the graph with every shape that can be inferred."""
    try:
        onnx.checker.check_model(content)
        inferred = onnx.shape_inference.infer_shapes(content, check_type=True, strict_mode=True, data_prop=True)
    except UnicodeDecodeError as error:  # the library quotes a name
        raise GraphRefused("is not valid ONNX: it has a name that is not UTF-8") from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise GraphRefused(f"is not valid ONNX: {reason[:MAX_REASON]}") from error
    return inferred.graph


def check_tensors(side: str, found: Iterable[ValueInfoProto], stated: Sequence[TensorSpec]) -> None:
    """Refuse inputs or outputs other than the stated ones, and any batch that is not free."""
    found = list(found)
    names = [value.name for value in found]
    if names != [tensor.name for tensor in stated]:
        wanted = ", ".join(tensor.name for tensor in stated)
        raise GraphRefused(f"has the {side}s {', '.join(map(str, names))}; the manifest states {wanted}")
    for value, tensor in zip(found, stated, strict=True):
        where = f"{side} {tensor.name}"
        kind = value.type.tensor_type
        if kind.elem_type != ELEMENT_TYPES[tensor.datatype]:
            raise GraphRefused(
                f"{where}: has elements of ONNX type {kind.elem_type}; the manifest states {tensor.datatype}"
            )
        shape = list(axes(value))
        if shape and shape[0] is not None:
            raise GraphRefused(f"{where}: its batch is fixed at {shape[0]}; export it with a dynamic first axis")
        if (-1, *shape[1:]) != tensor.shape:
            words = [-1 if axis is None else axis for axis in shape]
            raise GraphRefused(f"{where}: has shape {words}; the manifest states {list(tensor.shape)}")


def axes(value: ValueInfoProto) -> Iterator[int | None]:
    """The axes of a tensor, None where only a run can tell."""
    for axis in value.type.tensor_type.shape.dim:
        yield axis.dim_value if axis.HasField("dim_value") else None
