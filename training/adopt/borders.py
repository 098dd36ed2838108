"""Puts the package's tensors around a foreign graph: names, types and shapes of the format, outside of its own nodes.

    latent FP32 [B, Z] ─▶ shape, type ─┐                      ┌─▶ float32, NCHW, clip ─▶ sample
    label INT64 [B]    ─▶ one-hot     ─┼─▶ the foreign graph ─┤        └─▶ quantised ─▶ pixels
    constants          ────────────────┘                      └─▶ one number ─▶ logit

Shapes: B batch, Z latent, C H W channels, height and width.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from training.adopt.decisions import Interval, Layouts
from training.adopt.graph_files import remove_unused
from training.adopt.roles import Port
from training.data.pixels import LARGEST_BYTE
from training.export.graphs.interface import LABEL, LATENT, PIXELS, SAMPLE, TensorSpec
from training.export.graphs.onnx_export import BATCH_NAME

INNER, OUTER = "foreign/", "border/"  # keep the graph's own names apart from the package's
ELEMENT_TYPES: Final = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64, "UINT8": TensorProto.UINT8}
NHWC_TO_NCHW: Final = (0, 3, 1, 2)
NCHW_TO_NHWC: Final = (0, 2, 3, 1)
SMALLEST_PROBABILITY: Final = 1e-7  # that float32 tells from 0 and 1 on both sides


class Borders:
    """A foreign graph on its way to a package.

    Args:
        model: plain; a copy is changed.
        batch: None where the graph takes any; else the one it takes: it is given the first sample of a batch, in that
            many copies, and what it makes is repeated. So a sample is right in a batch of one and nowhere else, which
            the service finds at loading, and serves it one by one.
    """

    def __init__(self, model: ModelProto, batch: int | None) -> None:
        self._model: ModelProto = onnx.compose.add_prefix(model, INNER)
        self._batch = batch
        self._before: list[onnx.NodeProto] = []
        self._after: list[onnx.NodeProto] = []
        self._count = 0
        self._inputs: list[TensorSpec] = []
        self._outputs: list[TensorSpec] = []

    def bind(self, name: str, value: NDArray[np.generic]) -> None:
        """Make an input a constant."""
        self._model.graph.initializer.append(numpy_helper.from_array(value, INNER + name))

    def take_latent(self, port: Port, size: int) -> None:
        """Give the graph its latent, of its own type and shape."""
        self._inputs.append(TensorSpec(LATENT, "FP32", (size,)))
        self._feed(port, LATENT, TensorProto.FLOAT)

    def take_label(self, port: Port, classes: int, *, one_hot: bool) -> None:
        """Give the graph its label, as an integer or one-hot."""
        self._inputs.append(TensorSpec(LABEL, "INT64"))
        if not one_hot:
            self._feed(port, LABEL, TensorProto.INT64)
            return
        depth = self._constant(np.array(classes, np.int64))
        vector = self._node("OneHot", [LABEL, depth, self._constant(np.array([0, 1], np.float32))], before=True)
        self._feed(port, vector, TensorProto.FLOAT)

    def take_sample(self, port: Port, layouts: Layouts, own: Interval | None, of: Interval) -> None:
        """Give the graph a sample, in its own layout and range.

        Args:
            own: range of the graph's images; None for vectors.
            of: range of the package's.
        """
        self._inputs.append(TensorSpec(SAMPLE, "FP32", layouts.sample_shape))
        fed = SAMPLE
        if own is not None and own != of:
            scale = (own[1] - own[0]) / (of[1] - of[0])
            fed = self._node("Mul", [fed, self._scalar(scale)], before=True)
            fed = self._node("Add", [fed, self._scalar(own[0] - scale * of[0])], before=True)
        if layouts.is_image and layouts.layout == "NHWC":
            fed = self._node("Transpose", [fed], before=True, perm=NCHW_TO_NHWC)
        if port.elem_type == TensorProto.UINT8:
            fed = self._node("Round", [fed], before=True)
        self._feed(port, fed, TensorProto.FLOAT)

    def make_sample(self, output: str, layouts: Layouts, value_range: Interval | None, *, clip: bool) -> None:
        """Take the sample from the graph; images with their pixels.

        Args:
            value_range: of images; None for vectors.
            clip: whether values outside the range can occur.
        """
        self._outputs.append(TensorSpec(SAMPLE, "FP32", layouts.sample_shape))
        made = self._node("Cast", [INNER + output], to=TensorProto.FLOAT)
        channels, *sides = layouts.sample_shape
        if layouts.is_image and layouts.layout == "NHWC":
            if len(layouts.axes) == 1:
                made = self._reshape(made, (*sides, channels))
            made = self._node("Transpose", [made], perm=NHWC_TO_NCHW)
        elif layouts.axes != layouts.sample_shape:
            made = self._reshape(made, layouts.sample_shape)
        if value_range is None:
            self._end("Identity", [self._for_all(made, 2)], SAMPLE)
            return
        low, high = value_range
        if clip:
            made = self._node("Clip", [made, self._scalar(low), self._scalar(high)])
        self._end("Identity", [self._for_all(made, 4)], SAMPLE)
        self._outputs.append(TensorSpec(PIXELS, "UINT8", (*sides, channels)))
        unit = self._node("Div", [self._node("Sub", [SAMPLE, self._scalar(low)]), self._scalar(high - low)])
        unit = self._node("Clip", [unit, self._scalar(0), self._scalar(1)])
        steps = self._node("Round", [self._node("Mul", [unit, self._scalar(LARGEST_BYTE)])])
        quantised = self._node("Cast", [steps], to=TensorProto.UINT8)
        self._end("Transpose", [quantised], PIXELS, perm=NCHW_TO_NHWC)

    def make_numbers(
        self, output: str, spec: TensorSpec, *, of_probability: bool = False, averaged: bool = False
    ) -> None:
        """Take numbers of each sample from the graph: a logit, or a latent.

        Args:
            of_probability: whether the graph gives a probability where a logit is wanted.
            averaged: whether the graph gives a map, whose mean is wanted.
        """
        self._outputs.append(spec)
        made = self._node("Cast", [INNER + output], to=TensorProto.FLOAT)
        if averaged:
            made = self._node("GlobalAveragePool", [made])  # in opset 17, means take their axes otherwise than in 18
        if of_probability:
            least = self._scalar(SMALLEST_PROBABILITY)
            made = self._node("Clip", [made, least, self._scalar(1 - SMALLEST_PROBABILITY)])
            made = self._node("Log", [self._node("Div", [made, self._node("Sub", [self._scalar(1), made])])])
        made = self._node("Reshape", [made, self._constant(np.array([-1, *spec.shape], np.int64))])
        self._end("Identity", [self._for_all(made, 1 + len(spec.shape))], spec.name)

    def build(self) -> bytes:
        """Serialize the graph with its borders."""
        graph = self._model.graph
        nodes = [*self._before, *graph.node, *self._after]
        del graph.node[:]
        graph.node.extend(nodes)
        for values, specs in ((graph.input, self._inputs), (graph.output, self._outputs)):
            del values[:]
            values.extend(self._value(spec) for spec in specs)
        del graph.value_info[:]
        remove_unused(graph)
        self._model.producer_name, self._model.producer_version = "", ""
        content: bytes = self._model.SerializeToString(deterministic=True)
        return content

    def _value(self, spec: TensorSpec) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.datatype], [BATCH_NAME, *spec.shape])

    def _feed(self, port: Port, fed: str, elem_type: int) -> None:
        """Connect a tensor to an input of the graph, whose type and shape it gets."""
        sizes = [size for size in port.dims[1:] if size is not None]
        if self._batch is not None:
            fed = self._first(fed, before=True)
        if len(port.dims) > 1 and len(sizes) == len(port.dims) - 1:
            fed = self._node("Reshape", [fed, self._constant(np.array([-1, *sizes], np.int64))], before=True)
        if self._batch is not None:
            fed = self._repeated(fed, len(port.dims))
        if elem_type == port.elem_type:
            node = onnx.helper.make_node("Identity", [fed], [INNER + port.name])
        else:
            node = onnx.helper.make_node("Cast", [fed], [INNER + port.name], to=port.elem_type)
        self._before.append(node)

    def _first(self, name: str, *, before: bool = False) -> str:
        """The first sample of a batch."""
        zero, one = (self._constant(np.array([end], np.int64)) for end in (0, 1))
        return self._node("Slice", [name, zero, one, zero], before=before)

    def _repeated(self, name: str, rank: int) -> str:
        """Copies of a sample, as many as the graph takes."""
        if self._batch == 1:
            return name
        return self._node("Expand", [name, self._constant(np.array([self._batch] + [1] * (rank - 1)))], before=True)

    def _for_all(self, name: str, rank: int) -> str:
        """What the graph made of the first sample, for all of a batch."""
        if self._batch is None:
            return name
        count = self._node("Shape", [self._inputs[0].name], start=0, end=1)
        shape = (
            self._node("Concat", [count, self._constant(np.ones(rank - 1, np.int64))], axis=0) if rank > 1 else count
        )
        return self._node("Expand", [self._first(name), shape])

    def _reshape(self, name: str, shape: Sequence[int]) -> str:
        return self._node("Reshape", [name, self._constant(np.array([-1, *shape], np.int64))])

    def _node(self, op: str, inputs: Sequence[str], *, before: bool = False, **attributes: int | Sequence[int]) -> str:
        self._count += 1
        made = f"{OUTER}{self._count}"
        (self._before if before else self._after).append(_made(op, inputs, made, attributes))
        return made

    def _end(self, op: str, inputs: Sequence[str], name: str, **attributes: int | Sequence[int]) -> None:
        self._after.append(_made(op, inputs, name, attributes))

    def _scalar(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _constant(self, values: NDArray[np.generic]) -> str:
        self._count += 1
        name = f"{OUTER}{self._count}"
        self._model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name


def _made(op: str, inputs: Sequence[str], output: str, attributes: Mapping[str, int | Sequence[int]]) -> onnx.NodeProto:
    node = onnx.helper.make_node(op, inputs, [output])
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    return node
