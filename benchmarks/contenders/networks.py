"""Untrained ONNX generators for timing, with weights from a seed, so that results of different machines compare.

    g28    grey 28×28: a matrix, two transposed convolutions and a 5×5 one; 1.20 M weights, 81 MFLOP a sample
    g64    colour 64×64: DCGAN's generator, five transposed convolutions; 3.81 M weights
    zero   grey 28×28 at almost no cost: one latent coordinate, copied to every pixel; the rest is the service's time

The time of a run does not depend on the values of the weights. Tensors are as in image packages (`models/README.md`).

Shapes: B batch, Z latent, C H W channels, height and width.

References:
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016), figure 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LATENT_SIZE: Final = 128
OPSET: Final = 18  # as the shipped packages
IR_VERSION: Final = 8  # of opset 18's release, for older runtimes
WEIGHTS_SEED: Final = 0
STEPS: Final = 255.0  # from the lowest to the highest value of a pixel

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Network:
    """One generator.

    Attributes:
        shape: C, H, W of its samples, in [−1, 1].
        model: the serialized graph: `latent` [B, Z] → `sample` [B, C, H, W] FP32, `pixels` [B, H, W, C] UINT8.
    """

    shape: Shape
    model: bytes


def make(name: str) -> Network:
    """Make one of the fixed generators; the same bytes every time.

    Args:
        name: a key of `NETWORKS`.
    """
    shape, draw = NETWORKS[name]
    graph = _Graph()
    draw(graph)
    return Network(shape, graph.serialize(name, shape))


class _Graph:
    """Collects nodes and weights; each method adds some and returns the name of its output."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(WEIGHTS_SEED)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: list[int] | int) -> str:
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        node = helper.make_node(operator, inputs, [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def constant(self, values: NDArray[np.generic] | float) -> str:
        array = np.asarray(values, np.float32) if isinstance(values, float) else values
        self._weights.append(numpy_helper.from_array(array, f"weight_{len(self._weights)}"))
        return self._weights[-1].name

    def drawn(self, *shape: int, fan_in: int) -> str:
        """Normal weights that keep the scale of a rectified input (He et al. 2015, equation 10)."""
        return self.constant((self._rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def matrix(self, hidden: str, before: int, maps: Shape) -> str:
        width = int(np.prod(maps))
        bias = self.constant(np.zeros(width, np.float32))
        flat = self.node("Gemm", hidden, self.drawn(before, width, fan_in=before), bias)
        return self.node("Relu", self.node("Reshape", flat, self.constant(np.array([-1, *maps]))))

    def doubled(self, hidden: str, before: int, after: int) -> str:
        """A 4×4 transposed convolution of stride 2: [B, before, H, W] → [B, after, 2H, 2W]."""
        kernel = self.drawn(before, after, 4, 4, fan_in=before * 4)  # of its 16 taps, 4 meet in one output
        bias = self.constant(np.zeros(after, np.float32))
        return self.node("ConvTranspose", hidden, kernel, bias, strides=[2, 2], pads=[1, 1, 1, 1])

    def sample(self, hidden: str) -> None:
        """The last layers of an image generator: tanh, and the pixels computed from it."""
        sample = self.node("Tanh", hidden, output="sample")
        self.node("Transpose", self.quantised(sample), perm=[0, 2, 3, 1], output="pixels")

    def quantised(self, sample: str) -> str:
        """Values in [−1, 1] as bytes: round half to even of 255 · (x + 1) / 2."""
        half, one = self.constant(0.5), self.constant(1.0)
        fraction = self.node("Mul", self.node("Add", sample, one), half)
        clipped = self.node("Clip", fraction, self.constant(0.0), one)
        rounded = self.node("Round", self.node("Mul", clipped, self.constant(STEPS)))
        return self.node("Cast", rounded, to=TensorProto.UINT8)

    def serialize(self, name: str, shape: Shape) -> bytes:
        channels, height, width = shape
        tensor = helper.make_tensor_value_info
        inputs = [tensor("latent", TensorProto.FLOAT, ["batch", LATENT_SIZE])]
        outputs = [
            tensor("sample", TensorProto.FLOAT, ["batch", *shape]),
            tensor("pixels", TensorProto.UINT8, ["batch", height, width, channels]),
        ]
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._weights)
        opset = [helper.make_opsetid("", OPSET)]
        return bytes(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION).SerializeToString())


def _draw_g28(graph: _Graph) -> None:
    hidden = graph.matrix("latent", LATENT_SIZE, (128, 7, 7))
    for before, after in ((128, 128), (128, 64)):
        hidden = graph.node("Relu", graph.doubled(hidden, before, after))
    kernel = graph.drawn(1, 64, 5, 5, fan_in=64 * 25)
    graph.sample(graph.node("Conv", hidden, kernel, graph.constant(np.zeros(1, np.float32)), pads=[2, 2, 2, 2]))


def _draw_g64(graph: _Graph) -> None:
    widths = (512, 256, 128, 64, 3)
    hidden = graph.matrix("latent", LATENT_SIZE, (widths[0], 4, 4))
    for before, after in pairwise(widths):
        hidden = graph.doubled(hidden, before, after)
        hidden = graph.node("Relu", hidden) if after != widths[-1] else hidden
    graph.sample(hidden)


def _draw_zero(graph: _Graph) -> None:
    """Compute one value a row, and copy it last."""
    first, past = (graph.constant(np.array([edge])) for edge in (0, 1))
    column = graph.node("Slice", "latent", first, past, graph.constant(np.array([1])))
    value = graph.node("Tanh", graph.node("Reshape", column, graph.constant(np.array([-1, 1, 1, 1]))))
    graph.node("Tile", value, graph.constant(np.array([1, 1, 28, 28])), output="sample")
    graph.node("Tile", graph.quantised(value), graph.constant(np.array([1, 28, 28, 1])), output="pixels")


NETWORKS: Final[Mapping[str, tuple[Shape, Callable[[_Graph], None]]]] = {
    "g28": ((1, 28, 28), _draw_g28),
    "g64": ((3, 64, 64), _draw_g64),
    "zero": ((1, 28, 28), _draw_zero),
}
