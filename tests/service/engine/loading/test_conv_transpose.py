"""A graph whose transposed convolutions were rewritten as convolutions computes the same."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from service.engine.loading.conv_transpose import as_convolutions
from tests.support.graph_makers import identity

Attribute = int | str | list[int]

CHANNELS, FEATURES = 3, 5
UPSAMPLING: Mapping[str, Attribute] = {"strides": [2, 2], "pads": [1, 1, 1, 1]}


def make_node(op: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Attribute]) -> onnx.NodeProto:
    node = helper.make_node(op, inputs, [output])
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    return node


def graph(
    kernel: Sequence[int],
    attributes: Mapping[str, Attribute] = MappingProxyType({}),
    *,
    bias: bool = True,
    layers: int = 1,
    packed: bool = False,
    dtype: type[np.floating] = np.float32,
) -> bytes:
    """Transposed convolutions from `x` [B, 3, H, W] to `y`, with a negative number in an attribute beside them."""
    rng = np.random.default_rng(0)
    group = attributes.get("group", 1)
    assert isinstance(group, int)
    nodes, initializers = [], []
    sources = CHANNELS * group
    for layer in range(layers):
        weights = rng.standard_normal((sources, FEATURES, *kernel)).astype(dtype)
        initializers.append(numpy_helper.from_array(weights, f"weights_{layer}"))
        inputs = ["x" if layer == 0 else f"h_{layer - 1}", f"weights_{layer}"]
        if bias:
            initializers.append(
                numpy_helper.from_array(rng.standard_normal(FEATURES * group).astype(dtype), f"b_{layer}")
            )
            inputs.append(f"b_{layer}")
        nodes.append(make_node("ConvTranspose", inputs, f"h_{layer}", attributes))
        sources = FEATURES
    nodes.append(helper.make_node("ReduceSum", [f"h_{layers - 1}", "axes"], ["y"], keepdims=1))
    initializers.append(numpy_helper.from_array(np.array([-3]), "axes"))
    if packed:
        for tensor in initializers[:1]:
            values = numpy_helper.to_array(tensor).ravel()
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["B", CHANNELS * group, "H", "W"])],
        [helper.make_tensor_value_info("y", kind, ["B", 1, "Y", "X"])],
        initializers,
    )
    opset = [helper.make_opsetid("", 20)]
    content: bytes = helper.make_model(
        made, opset_imports=opset, ir_version=10, doc_string="as it was"
    ).SerializeToString()
    return content


def operators(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def run(model: bytes, height: int, width: int, batch: int = 2) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((batch, CHANNELS, height, width)).astype(np.float32)
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ((4, 4), UPSAMPLING),
        ((4, 4), {**UPSAMPLING, "dilations": [1, 1], "group": 1, "auto_pad": "NOTSET", "output_padding": [0, 0]}),
        ((3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((3, 5), {"strides": [2, 2], "pads": [0, 3, 1, 1]}),
        ((3, 3), {"pads": [1, 1, 1, 1]}),
        ((3, 3), {}),
        ((2, 2), {"strides": [2, 2]}),
        ((5, 4), {"strides": [3, 3], "pads": [2, 1, 0, 3], "output_padding": [2, 0]}),
        ((1, 2), {"strides": [2, 2], "output_padding": [1, 0]}),
        ((7, 7), {"strides": [4, 4], "pads": [5, 6, 2, 0]}),
        ((4, 4), {"kernel_shape": [4, 4], "strides": [1, 1]}),
    ],
)
def test_the_rewritten_graph_computes_the_same(
    kernel: tuple[int, int], attributes: Mapping[str, Attribute], bias: bool
) -> None:
    model = graph(kernel, attributes, bias=bias)
    rewritten = as_convolutions(model)
    assert rewritten is not None
    onnx.checker.check_model(rewritten, full_check=True)
    assert "ConvTranspose" not in operators(rewritten)
    for height, width in ((4, 7), (5, 5), (3, 4)):
        expected = run(model, height, width)
        found = run(rewritten, height, width)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_all_layers_are_rewritten_and_all_else_stays() -> None:
    model = graph((4, 4), UPSAMPLING, layers=3)
    rewritten = as_convolutions(model)
    assert rewritten is not None
    assert operators(rewritten) == [*("Conv", "DepthToSpace", "Slice") * 3, "ReduceSum"]
    before, after = onnx.load_from_string(model), onnx.load_from_string(rewritten)
    assert list(before.graph.input) == list(after.graph.input)
    assert list(before.graph.output) == list(after.graph.output)
    assert (after.doc_string, list(after.opset_import)) == ("as it was", list(before.opset_import))
    np.testing.assert_allclose(run(rewritten, 3, 3), run(model, 3, 3), atol=2e-3)


@pytest.mark.parametrize(
    "attributes",
    [
        {"group": 2},
        {"dilations": [2, 2]},
        {"strides": [2, 1]},
        {"auto_pad": "SAME_UPPER"},
        {"output_shape": [8, 8]},
        {"pads": [4, 4, 4, 4]},
        {"strides": [7, 7]},
        {"strides": [10**9, 10**9]},
        {"strides": [0, 0]},
    ],
    ids=str,
)
def test_what_cannot_be_rewritten_stays_as_it_is(attributes: Mapping[str, Attribute]) -> None:
    assert as_convolutions(graph((3, 3), attributes)) is None


def test_weights_that_are_computed_or_stored_otherwise_stay() -> None:
    assert as_convolutions(graph((2, 2), packed=True)) is None
    assert as_convolutions(graph((2, 2), dtype=np.float16)) is None
    computed = onnx.load_from_string(graph((2, 2)))
    weights = computed.graph.initializer[0]
    del computed.graph.initializer[0]
    computed.graph.node.insert(0, helper.make_node("Constant", [], ["weights_0"], value=weights))
    assert as_convolutions(computed.SerializeToString()) is None


def test_lists_of_integers_are_read_packed_as_well() -> None:
    model = graph((2, 2), {"strides": [2, 2]})
    unpacked, packed = bytes([8 << 3, 2, 8 << 3, 2]), bytes([8 << 3 | 2, 2, 2, 2])
    assert model.count(unpacked) == 1
    rewritten = as_convolutions(model.replace(unpacked, packed))
    assert rewritten is not None
    np.testing.assert_allclose(run(rewritten, 3, 3), run(model, 3, 3), atol=1e-5)


def test_a_graph_without_transposed_convolutions_stays() -> None:
    assert as_convolutions(identity().model) is None
