"""Rewrites the transposed convolutions of an ONNX file as convolutions, whose kernels on CUDA add up in a fixed order.

    ConvTranspose, stride s   ──▶   Conv to s·s times the channels ──▶ DepthToSpace ──▶ Slice off what `pads` crops

cuDNN computes ConvTranspose as the gradient of a convolution, for which it has kernels with atomic additions. With
m = n + pad = s·q + r an output of one axis is y[n] = Σ_i x[i] w[m − s·i] = Σ_j x[q − j] w[s·j + r]: for each of the s
phases r a convolution with every s-th weight, reversed.

The file is read and written as protobuf's wire format, field by field, because the service does without the onnx
library: fields that are not touched are copied as they are. The files have been vetted, and loaded once.

Shapes: I input channels, O output channels, k weights of an axis, K = ⌈k / s⌉ weights of a phase.

References:
    ONNX, `onnx.proto`, and the operators ConvTranspose, DepthToSpace (mode CRD) and Slice.
    Protocol Buffers Documentation, Encoding.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]

# Field numbers of onnx.proto that are read or written.
MODEL_GRAPH: Final = 7


class GraphField(IntEnum):
    """Of a GraphProto."""

    NODE = 1
    INITIALIZER = 5


class NodeField(IntEnum):
    """Of a NodeProto."""

    INPUT = 1
    OUTPUT = 2
    OP_TYPE = 4
    ATTRIBUTE = 5


class AttributeField(IntEnum):
    """Of an AttributeProto."""

    NAME = 1
    INTEGER = 3
    STRING = 4
    INTEGERS = 8
    TYPE = 20


class TensorField(IntEnum):
    """Of a TensorProto."""

    DIMS = 1
    DATA_TYPE = 2
    NAME = 8
    RAW_DATA = 9


# AttributeProto.AttributeType and TensorProto.DataType.
INTEGER, STRING, INTEGERS = 2, 3, 7
FLOAT32, INT64 = 1, 7
# Wire types.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# What a phase lacks in weights is filled with zeros: a kernel of one weight and a large stride would take all memory.
# With a stride of 2 the weights become at most four times as many.
MOST_GROWTH = 4
END: Final = np.iinfo(np.int64).max  # of a Slice that crops nothing there


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message.

    Attributes:
        number: of onnx.proto.
        integer: its value where its wire type is an integer's, else its length.
        content: its bytes where it has another wire type.
        raw: all of it, number and wire type included.
    """

    number: int
    integer: int
    content: memoryview | None
    raw: memoryview

    @property
    def text(self) -> str:
        return str(self.content, "utf-8") if self.content is not None else ""

    @property
    def integers(self) -> list[int]:
        """Of a repeated field: one of them, or all of them where they are packed."""
        unsigned = [self.integer] if self.content is None else _packed(self.content)
        return [value - 2**64 if value >= 2**63 else value for value in unsigned]


def as_convolutions(model: bytes) -> bytes | None:
    """Rewrite every transposed convolution of two axes, one group, no dilation and equal strides that are not large.

    Args:
        model: a valid ONNX file.

    Returns:
        The file, with inputs, outputs and all else as they were; None where nothing in it can be rewritten.
    """
    fields = list(_fields(memoryview(model)))
    graph = next(field for field in fields if field.number == MODEL_GRAPH)
    parts = list(_fields(graph.content))
    tensors = {_name(part.content): part.content for part in parts if part.number == GraphField.INITIALIZER}
    prefix = f"as_convolution_{hashlib.sha256(model).hexdigest()}"  # which no file can hold as a name
    added: list[bytes] = []
    pieces: list[bytes | memoryview] = []
    for index, part in enumerate(parts):
        rewritten = None
        if part.number == GraphField.NODE:
            rewritten = _rewrite(_read_node(part.content), tensors, f"{prefix}_{index}")
        if rewritten is None:
            pieces.append(part.raw)
        else:
            nodes, initializers = rewritten
            pieces += [_bytes(GraphField.NODE, node) for node in nodes]
            added += [_bytes(GraphField.INITIALIZER, tensor) for tensor in initializers]
    if not added:
        return None
    replaced = _bytes(MODEL_GRAPH, b"".join([*pieces, *added]))
    return b"".join(replaced if field is graph else field.raw for field in fields)


@dataclass(frozen=True, slots=True)
class _Node:
    op: str
    inputs: Sequence[str]
    output: str
    integers: Mapping[str, Sequence[int]]
    strings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of a transposed convolution is computed.

    Attributes:
        phase_weights: K.
        pads: zeros before and behind, of the convolution.
        crop: of its phases, put side by side, before and behind.
    """

    phase_weights: int
    pads: tuple[int, int]
    crop: tuple[int, int]

    @classmethod
    def of(cls, weights: int, stride: int, pads: tuple[int, int], output_padding: int) -> "_Axis":
        phase_weights = -(-weights // stride)
        before = phase_weights - 1 - pads[0] // stride
        behind = (weights + output_padding - pads[1] - 1) // stride
        crop_behind = stride * (behind + 1) - weights - output_padding + pads[1]
        return cls(phase_weights, (before, behind), (pads[0] % stride, crop_behind))


def _rewrite(
    node: _Node, tensors: Mapping[str, memoryview | None], name: str
) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """The nodes and initializers that take a node's place; None where it is another or cannot be rewritten.

    Args:
        node: of the graph.
        tensors: initializers by name.
        name: that nothing in the graph begins with.
    """
    if node.op != "ConvTranspose" or not all(source in tensors for source in node.inputs[1:]):
        return None
    parameters = [_read_floats(tensors[source]) for source in node.inputs[1:]]
    strides, dilations = (node.integers.get(key, (1, 1)) for key in ("strides", "dilations"))
    is_plain = tuple(dilations) == (1, 1) and node.integers.get("group", (1,))[0] == 1
    is_square = len(set(strides)) == 1 and strides[0] > 0
    is_padded = node.strings.get("auto_pad", "NOTSET") == "NOTSET" and "output_shape" not in node.integers
    weights = parameters[0]
    if weights is None or weights.ndim != 4 or not (is_plain and is_square and is_padded):  # noqa: PLR2004  (O, I and two axes)
        return None
    stride = strides[0]
    pads = node.integers.get("pads", (0, 0, 0, 0))
    output_padding = node.integers.get("output_padding", (0, 0))
    axes = [
        _Axis.of(weights.shape[2 + axis], stride, (pads[axis], pads[2 + axis]), output_padding[axis])
        for axis in range(2)
    ]
    filled = stride**2 * axes[0].phase_weights * axes[1].phase_weights
    if any(pad < 0 for axis in axes for pad in axis.pads) or filled > MOST_GROWTH * weights.shape[2] * weights.shape[3]:
        return None

    initializers = [_tensor(f"{name}_weights", _by_phase(weights, stride, axes))]
    if len(parameters) > 1:
        if parameters[1] is None:
            return None
        initializers.append(_tensor(f"{name}_bias", np.repeat(parameters[1], stride**2)))
    before, behind = zip(*(axis.pads for axis in axes), strict=True)
    convolution = _integers("kernel_shape", [axis.phase_weights for axis in axes]) + _integers("pads", before + behind)
    steps = [("Conv", [node.inputs[0], f"{name}_weights", f"{name}_bias"][: 1 + len(parameters)], convolution)]
    if stride > 1:
        steps.append(("DepthToSpace", [], _integer("blocksize", stride) + _string("mode", "CRD")))
    if any(axis.crop != (0, 0) for axis in axes):
        starts, ends = zip(*((axis.crop[0], -axis.crop[1] or END) for axis in axes), strict=True)
        bounds = {"starts": starts, "ends": ends, "axes": (2, 3)}
        initializers += [_tensor(f"{name}_{key}", np.array(values, np.int64)) for key, values in bounds.items()]
        steps.append(("Slice", [f"{name}_{key}" for key in bounds], b""))
    return list(_chain(steps, name, node.output)), initializers


def _chain(steps: Sequence[tuple[str, list[str], bytes]], name: str, output: str) -> Iterator[bytes]:
    """Nodes (operator, inputs, attributes), each of which takes the output of the one before as its first input."""
    before: list[str] = []
    for index, (op, inputs, attributes) in enumerate(steps):
        result = output if index == len(steps) - 1 else f"{name}_{index}"
        yield b"".join(_bytes(NodeField.INPUT, source.encode()) for source in before + inputs) + b"".join(
            [_bytes(NodeField.OUTPUT, result.encode()), _bytes(NodeField.OP_TYPE, op.encode()), attributes]
        )
        before = [result]


def _by_phase(weights: Weights, stride: int, axes: Sequence[_Axis]) -> Weights:
    """Weights [I, O, k, k] of a transposed convolution as those of its phases, [O·s·s, I, K, K]."""
    rows, columns = (axis.phase_weights for axis in axes)
    sources, targets = weights.shape[:2]
    padded = np.zeros((sources, targets, rows * stride, columns * stride), np.float32)
    padded[:, :, : weights.shape[2], : weights.shape[3]] = weights
    phases = padded.reshape(sources, targets, rows, stride, columns, stride)[:, :, ::-1, :, ::-1]
    return phases.transpose(1, 3, 5, 0, 2, 4).reshape(targets * stride**2, sources, rows, columns)


def _read_node(content: memoryview | None) -> _Node:
    inputs, output, op = [], "", ""
    integers: dict[str, Sequence[int]] = {}
    strings: dict[str, str] = {}
    for field in _fields(content):
        match field.number:
            case NodeField.INPUT:
                inputs.append(field.text)
            case NodeField.OUTPUT:
                output = field.text
            case NodeField.OP_TYPE:
                op = field.text
            case NodeField.ATTRIBUTE:
                attribute = list(_fields(field.content))
                name = next((each.text for each in attribute if each.number == AttributeField.NAME), "")
                numbers = {AttributeField.INTEGER, AttributeField.INTEGERS}
                integers[name] = [number for each in attribute if each.number in numbers for number in each.integers]
                strings[name] = "".join(each.text for each in attribute if each.number == AttributeField.STRING)
    return _Node(op, inputs, output, {key: values for key, values in integers.items() if values}, strings)


def _name(tensor: memoryview | None) -> str:
    return next((field.text for field in _fields(tensor) if field.number == TensorField.NAME), "")


def _read_floats(tensor: memoryview | None) -> Weights | None:
    """An initializer's values; None where they are not float32, or not stored as bytes."""
    shape: list[int] = []
    values = None
    for field in _fields(tensor):
        match field.number:
            case TensorField.DIMS:
                shape += field.integers
            case TensorField.DATA_TYPE if field.integer != FLOAT32:
                return None
            case TensorField.RAW_DATA:
                values = np.frombuffer(field.content or b"", "<f4")
    return None if values is None else values.reshape(shape)


def _tensor(name: str, values: NDArray[np.generic]) -> bytes:
    return b"".join(
        [
            *(_varint_field(TensorField.DIMS, size) for size in values.shape),
            _varint_field(TensorField.DATA_TYPE, INT64 if values.dtype == np.int64 else FLOAT32),
            _bytes(TensorField.NAME, name.encode()),
            _bytes(TensorField.RAW_DATA, values.astype(values.dtype.newbyteorder("<")).tobytes()),
        ]
    )


def _integers(name: str, values: Sequence[int]) -> bytes:
    fields = b"".join(_varint_field(AttributeField.INTEGERS, value) for value in values)
    return _attribute(name, fields, INTEGERS)


def _integer(name: str, value: int) -> bytes:
    return _attribute(name, _varint_field(AttributeField.INTEGER, value), INTEGER)


def _string(name: str, value: str) -> bytes:
    return _attribute(name, _bytes(AttributeField.STRING, value.encode()), STRING)


def _attribute(name: str, value: bytes, kind: int) -> bytes:
    content = _bytes(AttributeField.NAME, name.encode()) + value + _varint_field(AttributeField.TYPE, kind)
    return _bytes(NodeField.ATTRIBUTE, content)


def _fields(message: memoryview | None) -> Iterator[_Field]:
    """The fields of a message, in their order."""
    position = 0
    message = memoryview(b"") if message is None else message
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        integer, content = {FIXED64: 8, FIXED32: 4}.get(kind, 0), None
        if kind in {VARINT, BYTES}:
            integer, position = _varint(message, position)
        if kind != VARINT:
            content, position = message[position : position + integer], position + integer
        yield _Field(number, integer, content, message[start:position])


def _packed(content: memoryview) -> list[int]:
    values, position = [], 0
    while position < len(content):
        value, position = _varint(content, position)
        values.append(value)
    return values


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004  (the bit that says that more follow)
            return value, position


def _bytes(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | BYTES) + _encoded(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _encoded(number << 3 | VARINT) + _encoded(value)


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004  (the bit that says that more follow)
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
