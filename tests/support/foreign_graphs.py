"""Foreign GANs: graphs as other projects export them, and what a user knows about each.

A maker gives the same bytes each time, takes milliseconds and writes less than 200 KB. Right answers come from the
graph itself, one sample at a time, by ONNX Runtime: the way in which its author serves it.

Shapes: N rows, Z latent, C H W channels, height and width, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from tests.support.toy_models import Arrays, GraphWriter, replay

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

GENERATOR: Final = "generator.onnx"
DISCRIMINATOR: Final = "discriminator.onnx"
ENCODER: Final = "encoder.onnx"
MAPPING: Final = "mapping.onnx"
WEIGHTS: Final = "generator.onnx.data"
SMALL = 1024  # bytes of a weight that exporters keep in the graph

FLOAT, HALF, INT64, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.UINT8
LATENT_SIZE = 16
SHAPE = (3, 12, 12)  # of most images here
CLASSES = 5
IR_OF_OPSET = {9: 4, 11: 6, 13: 7, 17: 8, 21: 10}  # as the exporters of those years write them


@dataclass(frozen=True, kw_only=True)
class ForeignGan:
    """A GAN as its author left it, and what its user knows.

    Attributes:
        files: content by bare name; `GENERATOR` is always there, the others name their role.
        flags: of `python -m training adopt` beside the files, where nothing in the graph tells.
        latent_size: Z.
        shape: C, H, W of an image, or the numbers of a vector.
        classes: K; 0 without labels.
        feed: the generator's (or the mapping's) inputs for one latent [Z] and label, as the author feeds them.
        read: an image [H, W, C] of bytes of one raw output, as the author shows it.
        see: the discriminator's or encoder's input for an image [H, W, C] of bytes.
        truth: the graph with the right answers where it is not `GENERATOR` itself.
    """

    files: Mapping[str, bytes]
    flags: tuple[str, ...] = ()
    latent_size: int = LATENT_SIZE
    shape: tuple[int, ...] = SHAPE
    classes: int = 0
    feed: Callable[[Floats, int], Arrays] = field(default=lambda z, _: {"z": z[None]})
    read: Callable[[NDArray[np.generic]], Bytes] = field(default=lambda raw: symmetric(raw[0]))
    see: Callable[[Bytes], NDArray[np.generic]] = field(default=lambda image: to_symmetric(image)[None])
    truth: bytes | None = None

    def pixels(self, latents: Floats, labels: Labels | None = None) -> Bytes:
        """The right images [N, H, W, C] of latents [N, Z]."""
        told = np.zeros(len(latents), np.int64) if labels is None else labels
        return np.stack([self.read(self.raw(z, int(label))) for z, label in zip(latents, told, strict=True)])

    def raw(self, latent: Floats, label: int = 0) -> NDArray[np.generic]:
        """The author's output for one latent [Z]."""
        inputs = self.feed(latent, label)
        if MAPPING in self.files:
            (w,) = replay(self.files[MAPPING], {"z": inputs.pop("z"), "psi": inputs.pop("psi")}).values()
            inputs["w"] = w
        (output,) = replay(self.truth or self.files[GENERATOR], inputs).values()
        return output

    def answers(self, file: str, images: Bytes, labels: Labels | None = None) -> Floats:
        """What the discriminator or encoder says of images [N, H, W, C], [N, ...] as its author sees it."""
        found = []
        for row, image in enumerate(images):
            inputs: Arrays = {"image": self.see(image)}
            if self.classes and labels is not None:
                inputs["label"] = labels[row : row + 1]
            (output,) = replay(self.files[file], inputs).values()
            found.append(output.reshape(-1))
        return np.stack(found).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A file that no package can be made of.

    Attributes:
        names: a regular expression for the node, tensor or file that the refusal must name.
    """

    files: Mapping[str, bytes]
    names: str
    flags: tuple[str, ...] = ()


class Foreign(GraphWriter):
    """A graph in another project's style."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.default_rng(seed))

    @property
    def last(self) -> NodeProto:
        """The node that was added last."""
        return self._nodes[-1]

    def half(self, *shape: int, fan_in: int) -> str:
        return self.constant((self._rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float16))

    def number(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def dense(self, hidden: str, fan_in: int, fan_out: int, output: str = "") -> str:
        """Multiply [N, fan_in] by weights and add a bias, which old opsets need."""
        bias = self.weights(fan_out, fan_in=fan_out)
        return self.node("Gemm", hidden, self.weights(fan_in, fan_out, fan_in=fan_in), bias, output=output)

    def image(self, hidden: str, fan_in: int = LATENT_SIZE, shape: tuple[int, ...] = SHAPE, batch: int = -1) -> str:
        """Features [N, fan_in] → [N, C, H, W] before the last activation."""
        flat = self.dense(hidden, fan_in, int(np.prod(shape)))
        return self.node("Reshape", flat, self.constant(np.array([batch, *shape])))

    def joined(self, label_one_hot: str, hidden: str) -> str:
        """Join an embedding of a one-hot label [N, K] to features [N, Z], which stay Z wide."""
        embedding = self.node("MatMul", label_one_hot, self.weights(CLASSES, LATENT_SIZE, fan_in=1))
        return self.node("Add", hidden, embedding)

    def finish(
        self,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        *,
        opset: int = 17,
        domain: str = "",
        weights_are_inputs: bool = False,
    ) -> bytes:
        declared = [*inputs]
        if weights_are_inputs:  # as every exporter did before IR 4
            declared += [tensor(each.name, each.data_type, *each.dims) for each in self._initializers]
        graph = helper.make_graph(self._nodes, "torch-jit-export", declared, outputs, self._initializers)
        sets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        model = helper.make_model(graph, opset_imports=sets, ir_version=3 if weights_are_inputs else IR_OF_OPSET[opset])
        return bytes(model.SerializeToString(deterministic=True))


def tensor(name: str, kind: int, *shape: int | str) -> ValueInfoProto:
    """An input or output, as its graph declares it."""
    return helper.make_tensor_value_info(name, kind, shape)


def symmetric(chw: NDArray[np.generic]) -> Bytes:
    """[C, H, W] in [-1, 1] → [H, W, C]."""
    return unit((chw.astype(np.float32) + 1) / 2)


def unit(chw: NDArray[np.generic]) -> Bytes:
    """[C, H, W] in [0, 1] → [H, W, C]."""
    return of_bytes(chw.astype(np.float32) * 255)


def of_bytes(chw: NDArray[np.generic]) -> Bytes:
    """[C, H, W] in [0, 255] → [H, W, C]."""
    return np.rint(np.clip(chw.astype(np.float32), 0, 255)).astype(np.uint8).transpose(1, 2, 0)


def to_symmetric(image: Bytes) -> Floats:
    """[H, W, C] → [C, H, W] in [-1, 1]."""
    return (image.transpose(2, 0, 1) / np.float32(127.5) - 1).astype(np.float32)


def to_unit(image: Bytes) -> Floats:
    """[H, W, C] → [C, H, W] in [0, 1]."""
    return (image.transpose(2, 0, 1) / np.float32(255)).astype(np.float32)


def plain(seed: int, shape: tuple[int, ...] = SHAPE, opset: int = 17) -> bytes:
    """Serialize z [N, Z] → image [N, C, H, W] in [-1, 1]: what needs no flag."""
    graph = Foreign(seed)
    graph.node("Tanh", graph.image("z", shape=shape), output="image")
    outputs = [tensor("image", FLOAT, "N", *shape)]
    return graph.finish([tensor("z", FLOAT, "N", LATENT_SIZE)], outputs, opset=opset)


def dynamic_batch() -> ForeignGan:
    """Opset 17, a named batch axis, tanh: as a careful author exports."""
    return ForeignGan(files={GENERATOR: plain(0)})


def fixed_batch() -> ForeignGan:
    """Opset 9, latent [1, Z, 1, 1], batch fixed at 1 everywhere: PyTorch's DCGAN example."""
    graph = Foreign(1)
    features = graph.node("Reshape", "input.1", graph.constant(np.array([1, LATENT_SIZE])))
    small = graph.image(features, shape=(4, 6, 6), batch=1)
    kernel = graph.weights(4, 3, 4, 4, fan_in=16)
    grown = graph.node("ConvTranspose", small, kernel, strides=[2, 2], pads=[1, 1, 1, 1])
    graph.node("Tanh", grown, output="output")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("input.1", FLOAT, 1, LATENT_SIZE, 1, 1)], [tensor("output", FLOAT, 1, *SHAPE)], opset=9
            )
        },
        feed=lambda z, _: {"input.1": z.reshape(1, -1, 1, 1)},
    )


def reshape_of_one() -> ForeignGan:
    """A dynamic first axis, but a constant Reshape to a batch of one inside."""
    graph = Foreign(2)
    graph.node("Tanh", graph.image("z", batch=1), output="image")
    return ForeignGan(
        files={GENERATOR: graph.finish([tensor("z", FLOAT, "N", LATENT_SIZE)], [tensor("image", FLOAT, "M", *SHAPE)])}
    )


def flat() -> ForeignGan:
    """Two numbers in, [1, 12288] out, tanh, opset 9: a drawing on a web page of 2019."""
    graph = Foreign(3)
    graph.node("Tanh", graph.dense("input.1", 2, 64 * 64 * 3), output="output")
    return ForeignGan(
        files={GENERATOR: graph.finish([tensor("input.1", FLOAT, 1, 2)], [tensor("output", FLOAT, 1, 12288)], opset=9)},
        latent_size=2,
        shape=(3, 64, 64),
        feed=lambda z, _: {"input.1": z[None]},
        read=lambda raw: symmetric(raw.reshape(3, 64, 64)),
    )


def unit_range() -> ForeignGan:
    """Sigmoid: grey images in [0, 1]."""
    graph = Foreign(4)
    shape = (1, 12, 12)
    graph.node("Sigmoid", graph.image("z", shape=shape), output="image")
    return ForeignGan(
        files={GENERATOR: graph.finish([tensor("z", FLOAT, "N", LATENT_SIZE)], [tensor("image", FLOAT, "N", *shape)])},
        shape=shape,
        read=lambda raw: unit(raw[0]),
    )


def byte_range() -> ForeignGan:
    """Floats in [0, 255]."""
    graph = Foreign(5)
    graph.node("Mul", graph.node("Sigmoid", graph.image("z")), graph.number(255), output="image")
    return ForeignGan(
        files={GENERATOR: graph.finish([tensor("z", FLOAT, "N", LATENT_SIZE)], [tensor("image", FLOAT, "N", *SHAPE)])},
        read=lambda raw: of_bytes(raw[0]),
    )


def channels_last_bytes() -> ForeignGan:
    """Bytes [N, H, W, C], not square: TensorFlow's way."""
    graph = Foreign(6)
    height, width = 8, 12
    painted = graph.node("Mul", graph.node("Sigmoid", graph.image("z", shape=(3, height, width))), graph.number(255))
    rounded = graph.node("Cast", graph.node("Round", painted), to=UINT8)
    graph.node("Transpose", rounded, perm=[0, 2, 3, 1], output="image:0")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("z", FLOAT, "unk__5", LATENT_SIZE)], [tensor("image:0", UINT8, "unk__6", height, width, 3)]
            )
        },
        shape=(3, height, width),
        read=lambda raw: raw[0].astype(np.uint8),
    )


def half_precision() -> ForeignGan:
    """Weights, latents and images in float16."""
    graph = Foreign(7)
    size = int(np.prod(SHAPE))
    flattened = graph.node("MatMul", "z", graph.half(LATENT_SIZE, size, fan_in=LATENT_SIZE))
    graph.node("Tanh", graph.node("Reshape", flattened, graph.constant(np.array([-1, *SHAPE]))), output="image")
    return ForeignGan(
        files={GENERATOR: graph.finish([tensor("z", HALF, "N", LATENT_SIZE)], [tensor("image", HALF, "N", *SHAPE)])},
        feed=lambda z, _: {"z": z[None].astype(np.float16)},
    )


def one_hot_label() -> ForeignGan:
    """A one-hot float label, a truncation of shape [1], batch 1: BigGAN's way."""
    graph = Foreign(8)
    shortened = graph.node("Mul", "z", "truncation")
    graph.node("Tanh", graph.image(graph.joined("class_label", shortened), batch=1), output="image")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("z", FLOAT, 1, LATENT_SIZE), tensor("class_label", FLOAT, 1, CLASSES),
                 tensor("truncation", FLOAT, 1)],
                [tensor("image", FLOAT, 1, *SHAPE)],
                opset=11,
            )
        },
        flags=("--set", "truncation=0.4"),
        classes=CLASSES,
        feed=lambda z, label: {
            "z": z[None], "class_label": np.eye(CLASSES, dtype=np.float32)[None, label],
            "truncation": np.array([0.4], np.float32),
        },
    )  # fmt: skip


def integer_label() -> ForeignGan:
    """An integer label [N], with a discriminator that takes it too and answers logits [N, 1]."""
    graph = Foreign(9)
    embedding = graph.node("Gather", graph.weights(CLASSES, LATENT_SIZE, fan_in=1), "labels")
    graph.node("Tanh", graph.image(graph.node("Mul", "noise", embedding)), output="image")
    judge = Foreign(10)
    seen = judge.node("Flatten", "image")
    shown = judge.node("Gather", judge.weights(CLASSES, 8, fan_in=1), "label")
    features = judge.node("Mul", judge.dense(seen, int(np.prod(SHAPE)), 8), shown)
    judge.dense(judge.node("LeakyRelu", features, alpha=0.2), 8, 1, output="validity")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("noise", FLOAT, "N", LATENT_SIZE), tensor("labels", INT64, "N")],
                [tensor("image", FLOAT, "N", *SHAPE)],
                opset=13,
            ),
            DISCRIMINATOR: judge.finish(
                [tensor("image", FLOAT, "N", *SHAPE), tensor("label", INT64, "N")],
                [tensor("validity", FLOAT, "N", 1)],
                opset=13,
            ),
        },
        classes=CLASSES,
        feed=lambda z, label: {"noise": z[None], "labels": np.array([label])},
    )


def truncation() -> ForeignGan:
    """A scalar without axes that scales the latent."""
    graph = Foreign(11)
    graph.node("Tanh", graph.image(graph.node("Mul", "z", "truncation")), output="image")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("z", FLOAT, "N", LATENT_SIZE), tensor("truncation", FLOAT)],
                [tensor("image", FLOAT, "N", *SHAPE)],
            )
        },
        flags=("--set", "truncation=0.7"),
        feed=lambda z, _: {"z": z[None], "truncation": np.array(0.7, np.float32)},
    )


def mapping_and_synthesis() -> ForeignGan:
    """StyleGAN2 in two graphs: mapping with ψ and w_avg, synthesis with a strength of its noise; unbounded output."""
    mapping = Foreign(12)
    squares = mapping.node("ReduceMean", mapping.node("Mul", "z", "z"), axes=[1], keepdims=1)
    normal = mapping.node("Div", "z", mapping.node("Sqrt", mapping.node("Add", squares, mapping.number(1e-8))))
    hidden = mapping.node("LeakyRelu", mapping.dense(normal, LATENT_SIZE, LATENT_SIZE), alpha=0.2)
    average = mapping.weights(LATENT_SIZE, fan_in=1)
    away = mapping.node("Mul", mapping.node("Sub", hidden, average), "psi")
    truncated = mapping.node("Unsqueeze", mapping.node("Add", average, away), mapping.constant(np.array([1])))
    mapping.node("Tile", truncated, mapping.constant(np.array([1, 2, 1])), output="w")

    synthesis = Foreign(13)
    layers = [
        synthesis.node("Squeeze", layer, synthesis.constant(np.array([1])))
        for layer in (
            synthesis.node("Slice", "w", *(synthesis.constant(np.array([edge])) for edge in (row, row + 1, 1)))
            for row in range(2)
        )
    ]
    scale, bias = (
        synthesis.node("Reshape", synthesis.dense(layer, LATENT_SIZE, 8), synthesis.constant(np.array([1, 8, 1, 1])))
        for layer in layers
    )
    start = synthesis.weights(1, 8, 6, 6, fan_in=1)  # the learned constant
    features = synthesis.node("Add", synthesis.node("Mul", start, scale), bias)
    blur = synthesis.node("Mul", synthesis.weights(1, 1, 6, 6, fan_in=1), "noise")
    features = synthesis.node("LeakyRelu", synthesis.node("Add", features, blur), alpha=0.2)
    kernel = synthesis.weights(8, 3, 2, 2, fan_in=64)
    synthesis.node("ConvTranspose", features, kernel, strides=[2, 2], output="img")
    return ForeignGan(
        files={
            MAPPING: mapping.finish(
                [tensor("z", FLOAT, 1, LATENT_SIZE), tensor("psi", FLOAT, 1)],
                [tensor("w", FLOAT, 1, 2, LATENT_SIZE)],
                opset=13,
            ),
            GENERATOR: synthesis.finish(
                [tensor("w", FLOAT, 1, 2, LATENT_SIZE), tensor("noise", FLOAT, 1)],
                [tensor("img", FLOAT, 1, *SHAPE)],
                opset=13,
            ),
        },
        flags=("--range", "-1", "1", "--set", "psi=0.7", "--set", "noise=0"),
        feed=lambda z, _: {"z": z[None], "psi": np.array([0.7], np.float32), "noise": np.zeros(1, np.float32)},
    )


def noise_map() -> ForeignGan:
    """A map of noise [N, 1, H, W] beside the latent: StyleGAN's noise as an input."""
    graph = Foreign(14)
    painted = graph.node("Add", graph.image("z"), graph.node("Mul", "noise", graph.number(0.3)))
    graph.node("Tanh", painted, output="image")
    zeros = np.zeros((1, 1, *SHAPE[1:]), np.float32)
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("z", FLOAT, "N", LATENT_SIZE), tensor("noise", FLOAT, "N", 1, *SHAPE[1:])],
                [tensor("image", FLOAT, "N", *SHAPE)],
            )
        },
        flags=("--set", "noise=0"),
        feed=lambda z, _: {"z": z[None], "noise": zeros},
    )


def training_batchnorm() -> ForeignGan:
    """Batch normalisation left in training mode; right are its running statistics."""

    def graph(training: int) -> bytes:
        writer = Foreign(15)
        small = writer.image("z", shape=(4, 12, 12))
        scale, bias, mean = (writer.weights(4, fan_in=4) for _ in range(3))
        variance = writer.constant(np.array([0.5, 1, 2, 1], np.float32))
        normal = writer.node("BatchNormalization", small, scale, bias, mean, variance, training_mode=training)
        if training:
            writer.last.output.extend(["running_mean", "running_var"])
        writer.node("Tanh", writer.node("Conv", normal, writer.weights(3, 4, 1, 1, fan_in=4)), output="image")
        return writer.finish([tensor("z", FLOAT, "N", LATENT_SIZE)], [tensor("image", FLOAT, "N", *SHAPE)])

    return ForeignGan(files={GENERATOR: graph(training=1)}, truth=graph(training=0))


def weights_as_inputs() -> ForeignGan:
    """IR 3: every initialiser is listed among the inputs."""
    graph = Foreign(16)
    graph.node("Tanh", graph.image("z"), output="image")
    return ForeignGan(
        files={
            GENERATOR: graph.finish(
                [tensor("z", FLOAT, 1, LATENT_SIZE)], [tensor("image", FLOAT, 1, *SHAPE)], opset=9,
                weights_are_inputs=True,
            )
        }
    )  # fmt: skip


def not_square() -> ForeignGan:
    """8 rows of 20 pixels, opset 11, IR 6."""
    shape = (3, 8, 20)
    return ForeignGan(files={GENERATOR: plain(17, shape, opset=11)}, shape=shape)


def external_data() -> ForeignGan:
    """Weights in a second file beside the graph: what PyTorch writes today unless told otherwise."""
    inside = plain(25)
    model = onnx.load_model_from_string(inside)
    content = b""
    for weights in model.graph.initializer:
        if len(weights.raw_data) > SMALL:
            data, offset = weights.raw_data, len(content)
            weights.ClearField("raw_data")
            weights.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS), ("offset", offset), ("length", len(data))):
                weights.external_data.add(key=key, value=str(value))
            content += data
    return ForeignGan(files={GENERATOR: model.SerializeToString(deterministic=True), WEIGHTS: content}, truth=inside)


def judge(seed: int, last: str, channels_last: bool = False, opset: int = 17) -> bytes:
    """Serialize a discriminator, image [N, …] → [N, 1], with `Identity` or `Sigmoid` last."""
    graph = Foreign(seed)
    image = graph.node("Transpose", "image", perm=[0, 3, 1, 2]) if channels_last else "image"
    kernel = graph.weights(4, SHAPE[0], 3, 3, fan_in=27)
    features = graph.node("LeakyRelu", graph.node("Conv", image, kernel, strides=[2, 2], pads=[1, 1, 1, 1]), alpha=0.2)
    graph.node(last, graph.dense(graph.node("Flatten", features), 144, 1), output="real_or_fake")
    shape = (*SHAPE[1:], SHAPE[0]) if channels_last else SHAPE
    return graph.finish([tensor("image", FLOAT, "N", *shape)], [tensor("real_or_fake", FLOAT, "N", 1)], opset=opset)


def with_logits() -> ForeignGan:
    """A discriminator that answers logits [N, 1], and an encoder."""
    encoder = Foreign(20)
    features = encoder.node("Flatten", "image")
    encoder.dense(features, int(np.prod(SHAPE)), LATENT_SIZE, output="code")
    inputs, outputs = [tensor("image", FLOAT, "N", *SHAPE)], [tensor("code", FLOAT, "N", LATENT_SIZE)]
    return ForeignGan(
        files={
            GENERATOR: plain(18),
            DISCRIMINATOR: judge(19, "Identity"),
            ENCODER: encoder.finish(inputs, outputs),
        }
    )


def with_probabilities() -> ForeignGan:
    """A discriminator that ends in a sigmoid, batch free, opset 11."""
    return ForeignGan(files={GENERATOR: plain(21, opset=11), DISCRIMINATOR: judge(22, "Sigmoid", opset=11)})


def with_channels_last_judge() -> ForeignGan:
    """A discriminator that takes [N, H, W, C]."""
    return ForeignGan(
        files={GENERATOR: plain(23), DISCRIMINATOR: judge(24, "Identity", channels_last=True)},
        see=lambda image: to_symmetric(image).transpose(1, 2, 0)[None],
    )


MAKERS: Final[Mapping[str, Callable[[], ForeignGan]]] = {
    maker.__name__: maker
    for maker in (
        dynamic_batch, fixed_batch, reshape_of_one, flat, unit_range, byte_range, channels_last_bytes, half_precision,
        one_hot_label, integer_label, truncation, mapping_and_synthesis, noise_map, training_batchnorm,
        weights_as_inputs, not_square, external_data, with_logits, with_probabilities, with_channels_last_judge,
    )
}  # fmt: skip
