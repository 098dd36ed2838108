"""The graphs of toy packages: small, real ONNX, made without torch, with weights that come from a seed.

Shapes: B batch, Z latent coordinates, K elements of the code tensor, P samples scored together, C channels, H height,
W width, D numbers of a vector.
"""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.engine.model_spec import Datatype, TensorSpec
from tests.support.toy_shape import Toy

OPSET = 20
IR_VERSION = 10  # the IR of opset 20's releases: old runtimes read it as well
EMBEDDING_SIZE = 4
FEATURES = 4  # feature maps between two convolutions: the least that is still a convolution
HIDDEN = 16  # features between two matrices
ONNX_TYPES: Mapping[Datatype, int] = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "UINT8": TensorProto.UINT8,
    "INT64": TensorProto.INT64,
}

Arrays = dict[str, NDArray[np.generic]]


class GraphWriter:
    """Collects nodes and weights; each method adds one and returns the name of its output."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, *shape: int, fan_in: int) -> str:
        """Add normal weights [shape] that keep the variance of their input."""
        return self.constant((self._rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def node(self, op: str, *inputs: str, output: str = "", **attributes: int | float | list[int]) -> str:
        output = output or f"{op.lower()}_{len(self._nodes)}"
        node = helper.make_node(op, inputs, [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def dense(self, hidden: str, fan_in: int, fan_out: int, output: str = "") -> str:
        """Multiply [B, fan_in] by weights."""
        return self.node("Gemm", hidden, self.weights(fan_in, fan_out, fan_in=fan_in), output=output)

    def told(self, toy: Toy, hidden: str, fan_in: int) -> tuple[str, int]:
        """Add the embeddings of label and user, where the toy has them, to features [B, fan_in]."""
        for there, name, count in (
            (toy.conditional, "label", toy.label_count),
            (toy.condition_count > 0, "user", toy.condition_count),
        ):
            if there:
                embedding = self.node("Gather", self.weights(count, EMBEDDING_SIZE, fan_in=1), name)
                hidden, fan_in = self.node("Concat", hidden, embedding, axis=1), fan_in + EMBEDDING_SIZE
        return hidden, fan_in

    def model(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
        def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
            shape = ["batch" if axis < 0 else axis for axis in spec.shape]
            return helper.make_tensor_value_info(spec.name, ONNX_TYPES[spec.datatype], shape)

        graph = helper.make_graph(
            self._nodes, "toy", [value_info(i) for i in inputs], [value_info(o) for o in outputs], self._initializers
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="toy")
        return bytes(model.SerializeToString())


def generator_model(toy: Toy) -> bytes:
    """Serialize latent [B, Z] (and label, user [B], code [B, K]) → the sample, and an image's pixels."""
    graph = GraphWriter(np.random.default_rng((toy.seed, 0)))
    if toy.kind == "item":
        _choose_item(graph, toy)
    else:
        hidden, fan_in = graph.told(toy, "latent", toy.noise_size)
        if toy.codes is not None:
            hidden, fan_in = graph.node("Concat", hidden, "code", axis=1), fan_in + toy.codes.width
        if toy.kind == "image":
            _paint(graph, toy, hidden, fan_in)
        else:
            features = graph.node("Tanh", graph.dense(hidden, fan_in, HIDDEN))
            graph.dense(features, HIDDEN, toy.vector_size, output="sample")
    return graph.model(toy.generator_inputs, toy.generator_outputs)


def _paint(graph: GraphWriter, toy: Toy, hidden: str, fan_in: int) -> None:
    """Features [B, fan_in] → sample [B, C, H, W] and pixels [B, H, W, C]."""
    hidden = graph.dense(hidden, fan_in, FEATURES * toy.height * toy.width)
    hidden = graph.node("Reshape", hidden, graph.constant(np.array([-1, FEATURES, toy.height, toy.width])))
    kernel = graph.weights(toy.channels, FEATURES, 3, 3, fan_in=FEATURES * 9)
    unit = graph.node("Tanh", graph.node("Conv", hidden, kernel, pads=[1, 1, 1, 1]))
    low, high = np.array(toy.sample_range, dtype=np.float32)
    scaled = graph.node("Mul", unit, graph.constant(np.asarray((high - low) / 2)))
    sample = graph.node("Add", scaled, graph.constant(np.asarray((high + low) / 2)), output="sample")

    zero, one, steps = (graph.constant(np.asarray(value, dtype=np.float32)) for value in (0, 1, 255))
    span = graph.constant(np.asarray(high - low))
    fraction = graph.node("Div", graph.node("Sub", sample, graph.constant(np.asarray(low))), span)
    rounded = graph.node("Round", graph.node("Mul", graph.node("Clip", fraction, zero, one), steps))  # half to even
    quantised = graph.node("Cast", rounded, to=TensorProto.UINT8)
    graph.node("Transpose", quantised, perm=[0, 2, 3, 1], output="pixels")


def _choose_item(graph: GraphWriter, toy: Toy) -> None:
    """The Gumbel-max trick: sample [B] = argmax(scores of the user + noise)."""
    users = graph.node("Gather", graph.weights(toy.condition_count, EMBEDDING_SIZE, fan_in=1), "user")
    scores = graph.dense(users, EMBEDDING_SIZE, toy.item_count)
    graph.node("ArgMax", graph.node("Add", scores, "latent"), axis=1, keepdims=0, output="sample")


def _features(graph: GraphWriter, toy: Toy, pack: int) -> tuple[str, int]:
    """The sample, or `pack` of them side by side, as features [B, fan_in]."""
    match toy.kind:
        case "image":
            kernel = graph.weights(FEATURES, toy.channels * pack, 3, 3, fan_in=toy.channels * pack * 9)
            hidden = graph.node("LeakyRelu", graph.node("Conv", "sample", kernel, pads=[1, 1, 1, 1]), alpha=0.2)
            if toy.batch_coupled:
                batch_axis = graph.constant(np.array([0]))
                hidden = graph.node("Sub", hidden, graph.node("ReduceMean", hidden, batch_axis, keepdims=1))
            return graph.node("Flatten", hidden), FEATURES * toy.height * toy.width
        case "vector":
            hidden = graph.dense("sample", toy.vector_size * pack, HIDDEN)
            return graph.node("LeakyRelu", hidden, alpha=0.2), HIDDEN
        case "item":
            hidden = graph.node("Gather", graph.weights(toy.item_count, EMBEDDING_SIZE, fan_in=1), "sample")
            return graph.node("Flatten", hidden), EMBEDDING_SIZE * pack


def discriminator_model(toy: Toy) -> bytes:
    """Serialize sample (and label, user [B]) → logit [B]."""
    graph = GraphWriter(np.random.default_rng((toy.seed, 1)))
    hidden, fan_in = graph.told(toy, *_features(graph, toy, toy.pack))
    if toy.kind == "item":  # without a layer between them, item and user would not meet
        hidden, fan_in = graph.node("Tanh", graph.dense(hidden, fan_in, HIDDEN)), HIDDEN
    graph.node("Reshape", graph.dense(hidden, fan_in, 1), graph.constant(np.array([-1])), output="logit")
    return graph.model(toy.discriminator_inputs, toy.discriminator_outputs)


def encoder_model(toy: Toy) -> bytes:
    """Serialize sample → latent [B, Z], or code [B, K]: probabilities of each categorical code, then numbers."""
    graph = GraphWriter(np.random.default_rng((toy.seed, 2)))
    hidden, fan_in = _features(graph, toy, 1)
    if toy.codes is None:
        graph.dense(hidden, fan_in, toy.noise_size, output="latent")
    else:
        heads = [graph.node("Softmax", graph.dense(hidden, fan_in, size), axis=1) for size in toy.categorical]
        heads += [graph.dense(hidden, fan_in, 1) for _ in toy.continuous]
        graph.node("Concat", *heads, axis=1, output="code")
    return graph.model(toy.encoder_inputs, toy.encoder_outputs)


def replay(model: bytes, inputs: Arrays) -> Arrays:
    """Run a graph once on one CPU thread; returns its outputs by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))
