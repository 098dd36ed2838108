"""Foreign files that no package can be made of, each with one damage, and what the refusal must name."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.foreign_graphs import FLOAT, GENERATOR, LATENT_SIZE, SHAPE, Foreign, Refused, plain, tensor

Z = tensor("z", FLOAT, "N", LATENT_SIZE)
IMAGE = tensor("image", FLOAT, "N", *SHAPE)


def custom_domain() -> Refused:
    """StyleGAN's own operator."""
    graph = Foreign(30)
    graph.node("FusedUpsample", graph.image("z"), output="grown")
    graph.last.domain = "com.acme"
    graph.node("Tanh", "grown", output="image")
    return Refused(files={GENERATOR: graph.finish([Z], [IMAGE], domain="com.acme")}, names="FusedUpsample|com.acme")


def random_inside() -> Refused:
    """Noise that is drawn in the graph, so that a seed determines nothing."""
    graph = Foreign(31)
    painted = graph.image("z")
    noise = graph.node("RandomNormalLike", painted)
    graph.node("Tanh", graph.node("Add", painted, noise), output="image")
    return Refused(files={GENERATOR: graph.finish([Z], [IMAGE])}, names="RandomNormalLike")


def missing_external_data() -> Refused:
    """Weights in a second file that was not copied."""
    model = onnx.load_model_from_string(plain(32))
    weights = next(each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="generator.onnx.data")
    return Refused(files={GENERATOR: model.SerializeToString()}, names=r"generator\.onnx\.data")


def image_to_image() -> Refused:
    """AnimeGAN: a picture in, a picture out."""
    graph = Foreign(33)
    picture = graph.node("Transpose", "AnimeGANv3_input:0", perm=[0, 3, 1, 2])
    painted = graph.node("Conv", picture, graph.weights(3, 3, 3, 3, fan_in=27), pads=[1, 1, 1, 1])
    graph.node("Transpose", graph.node("Tanh", painted), perm=[0, 2, 3, 1], output="generator/main/out_layer:0")
    shape = (1, 32, 32, 3)
    inputs, outputs = ([tensor(name, FLOAT, *shape)] for name in ("AnimeGANv3_input:0", "generator/main/out_layer:0"))
    return Refused(files={GENERATOR: graph.finish(inputs, outputs, opset=11)}, names="AnimeGANv3_input:0")


def dynamic_size() -> Refused:
    """Images as large as the caller says."""
    graph = Foreign(34)
    sizes = graph.node("Concat", graph.constant(np.array([1, 1], np.float32)), "scale", axis=0)
    grown = graph.node("Resize", graph.image("z"), "", sizes)
    graph.node("Tanh", grown, output="image")
    inputs = [Z, tensor("scale", FLOAT, 2)]
    outputs = [tensor("image", FLOAT, "N", SHAPE[0], "height", "width")]
    return Refused(files={GENERATOR: graph.finish(inputs, outputs)}, names="scale")


def batch_coupled() -> Refused:
    """A sample that depends on the others of its batch."""
    graph = Foreign(35)
    mean = graph.node("ReduceMean", "z", axes=[0], keepdims=1)
    graph.node("Tanh", graph.image(graph.node("Sub", "z", mean)), output="image")
    return Refused(files={GENERATOR: graph.finish([Z], [IMAGE])}, names="batch")


def not_a_number() -> Refused:
    """Weights that training lost."""
    graph = Foreign(36)
    graph.node("Tanh", graph.node("Mul", graph.image("z"), graph.number(np.nan)), output="image")
    return Refused(files={GENERATOR: graph.finish([Z], [IMAGE])}, names="NaN|not a number|not finite")


def control_flow() -> Refused:
    """A branch on the data."""
    graph = Foreign(37)
    painted = graph.image("z")
    branches = {}
    for name, op in (("then_branch", "Tanh"), ("else_branch", "Sigmoid")):
        node = helper.make_node(op, [painted], [f"{name}_out"])
        branches[name] = helper.make_graph([node], name, [], [tensor(f"{name}_out", FLOAT, "N", *SHAPE)])
    total = graph.node("ReduceSum", "z", keepdims=0)
    graph.node("If", graph.node("Greater", total, graph.number(0)), output="image")
    graph.last.attribute.extend(helper.make_attribute(name, branch) for name, branch in branches.items())
    return Refused(files={GENERATOR: graph.finish([Z], [IMAGE])}, names="If")


def four_channels() -> Refused:
    """Images with an alpha channel."""
    return Refused(files={GENERATOR: plain(38, (4, 12, 12))}, names="image|4 channels")


def truncated() -> Refused:
    """The download ended early."""
    content = plain(39)
    return Refused(files={GENERATOR: content[: len(content) // 2]}, names=r"generator\.onnx")


def not_onnx() -> Refused:
    """A page that says that the file was not found."""
    return Refused(files={GENERATOR: b"<!DOCTYPE html><title>404</title>" * 20}, names=r"generator\.onnx")


def empty() -> Refused:
    """Nothing."""
    return Refused(files={GENERATOR: b""}, names=r"generator\.onnx")


MAKERS: Final[Mapping[str, Callable[[], Refused]]] = {
    maker.__name__: maker
    for maker in (
        custom_domain, random_inside, missing_external_data, image_to_image, dynamic_size, batch_coupled, not_a_number,
        control_flow, four_channels, truncated, not_onnx, empty,
    )
}  # fmt: skip
