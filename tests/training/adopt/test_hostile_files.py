"""Damaged, hostile and mistaken files: each is refused in one sentence, and nothing is left behind."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from tests.support import foreign_graphs, foreign_refused, foreign_torch
from tests.support.foreign_graphs import (
    DISCRIMINATOR,
    ENCODER,
    FLOAT,
    GENERATOR,
    INT64,
    LATENT_SIZE,
    SHAPE,
    Foreign,
    ForeignGan,
    Refused,
    integer_label,
    plain,
    tensor,
)  # fmt: skip
from tests.support.toy_models import Arrays, replay
from training import cli
from training.adopt import adopt, read_options, read_sources
from training.errors import TrainingError

Z, IMAGE = tensor("z", FLOAT, "N", LATENT_SIZE), tensor("image", FLOAT, "N", *SHAPE)


def unheard(_line: str) -> None:
    """Discard a message."""


def words_of(gan: Refused | ForeignGan, folder: Path) -> list[str]:
    """The command line that adopts files, written to a folder."""
    for file, content in gan.files.items():
        (folder / file).write_bytes(content)
    generator = next(iter(gan.files))
    others = [
        word
        for file in (DISCRIMINATOR, ENCODER)
        if file in gan.files
        for word in (f"--{file[:-5]}", f"{folder / file}")
    ]
    return ["adopt", str(folder / generator), "--name", "mine", "--models", str(folder / "models"), *others, *gan.flags]


def damaged(damage: Callable[[ModelProto], None]) -> bytes:
    """A good graph with one damage."""
    model = onnx.load_model_from_string(plain(90))
    damage(model)
    content: bytes = model.SerializeToString()
    return content


def only(content: bytes, names: str, *flags: str, file: str = GENERATOR) -> Refused:
    return Refused(files={file: content}, names=names, flags=flags)


def outside(location: str) -> bytes:
    """A graph with weights in a file that is not beside it."""

    def move(model: ModelProto) -> None:
        weights = model.graph.initializer[0]
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)

    return damaged(move)


def cut(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:8]


def dangle(model: ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def loop(model: ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def rename_operator(model: ModelProto) -> None:
    model.graph.node[-1].op_type = "NoSuchOperator"


def of_the_future(model: ModelProto) -> None:
    model.ir_version = 99


def labelled(*axes: int | str, kind: int = INT64) -> bytes:
    """A generator with a label of a shape and a type."""
    graph = Foreign(91)
    label = graph.node("Cast", "label", to=INT64)
    embedding = graph.node("Gather", graph.weights(5, LATENT_SIZE, fan_in=1), label)
    flat = graph.node("Reshape", embedding, graph.constant(np.array([-1, LATENT_SIZE])))
    graph.node("Tanh", graph.image(graph.node("Mul", "z", flat)), output="image")
    return graph.finish([Z, tensor("label", kind, *axes)], [IMAGE])


def two_vectors() -> bytes:
    """An encoder with two outputs of the latent's size."""
    graph = Foreign(92)
    flat = graph.node("Flatten", "image")
    for name in ("a", "b"):
        graph.dense(flat, int(np.prod(SHAPE)), LATENT_SIZE, output=name)
    return graph.finish([IMAGE], [tensor(name, FLOAT, "N", LATENT_SIZE) for name in ("a", "b")])


def softmax_of_two() -> bytes:
    """A discriminator that answers the probabilities of two classes."""
    graph = Foreign(93)
    graph.node("Softmax", graph.dense(graph.node("Flatten", "image"), int(np.prod(SHAPE)), 2), output="out", axis=1)
    return graph.finish([IMAGE], [tensor("out", FLOAT, "N", 2)])


def without_batch() -> bytes:
    """One latent in, one image out."""
    graph = Foreign(94)
    row = graph.node("Reshape", "z", graph.constant(np.array([1, LATENT_SIZE])))
    graph.node("Reshape", graph.node("Tanh", graph.image(row)), graph.constant(np.array(SHAPE)), output="image")
    return graph.finish([tensor("z", FLOAT, LATENT_SIZE)], [tensor("image", FLOAT, *SHAPE)])


GOOD = plain(90)
LABELS = integer_label().files[GENERATOR]
CASES: Mapping[str, Refused] = {
    **{name: maker() for name, maker in foreign_refused.MAKERS.items()},
    "weights that are cut off": only(damaged(cut), "not valid ONNX: .*; export it again"),
    "a tensor that nothing makes": only(damaged(dangle), "not valid ONNX: .*nowhere"),
    "a cycle": only(damaged(loop), "not valid ONNX"),
    "an operator that does not exist": only(damaged(rename_operator), "NoSuchOperator"),
    "an IR of the future": only(damaged(of_the_future), "IR|ir_version"),
    "data outside of the folder": only(outside("../../../etc/passwd"), "outside"),
    "data at an absolute path": only(outside("/etc/passwd"), "absolute path"),
    "data in the graph itself": only(outside(GENERATOR), "not valid ONNX"),
    "a checkpoint of PyTorch": only(b"PK\x03\x04" + bytes(99), r"PyTorch.*ganymede\.publish", file="g.pth"),
    "an old checkpoint of PyTorch": only(b"\x80\x02\x8a\x0al\xfc\x9cF", r"PyTorch.*ganymede\.publish", file="g.pkl"),
    "a model of Keras": only(b"\x89HDF\r\n\x1a\n" + bytes(99), "Keras.*tf2onnx", file="g.h5"),
    "a pointer": only(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a label without a batch": only(labelled(), "'label'.*needs an axis for the batch"),
    "latents without a batch": only(without_batch(), r"'z' \[16\].*first axis is the batch"),
    "classes of one name": only(LABELS, "names of their own.*--labels", "--labels", "a,a,b,c,d"),
    "a class without a name": only(LABELS, "names of their own.*--labels", "--labels", "a,,b,c,d"),
    "no class": only(LABELS, "names no class", "--labels", "0"),
    "too few classes": only(LABELS, "5 classes, and --labels 2", "--labels", "2"),
    "a range that hides the image": only(GOOD, "one colour.*range of the values", "--range", "-1000", "1000"),
    "a range upside down": only(GOOD, "LOW below a HIGH", "--range", "1", "-1"),
    "an input that does not exist": only(GOOD, "no such input; there are z", "--set", "psi=1"),
    "the latent as a constant": only(GOOD, "no input of floats", "--set", "z=0"),
    "two latents of a picture": Refused(files={GENERATOR: GOOD, ENCODER: two_vectors()}, names="'a' of 16.*'b' of 16"),
    "two classes in place of a score": Refused(
        files={GENERATOR: GOOD, DISCRIMINATOR: softmax_of_two()}, names="'out' of 2"
    ),
    "the generator as its discriminator": Refused(files={GENERATOR: GOOD, DISCRIMINATOR: GOOD}, names="takes 'z'"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_served_is_refused_in_a_sentence(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = cli.parser().parse_args(words_of(CASES[name], tmp_path))
    with pytest.raises(TrainingError, match=CASES[name].names) as refused:
        adopt(read_sources(asked), dataclasses.replace(read_options(asked), checked=False), unheard)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "models").exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [FLOAT, TensorProto.INT32], ids=["floats", "int32"])
def test_labels_of_any_type_and_with_an_axis_of_one_are_taken(kind: int, tmp_path: Path) -> None:
    asked = cli.parser().parse_args(words_of(only(labelled("N", 1, kind=kind), ""), tmp_path))
    found = adopt(read_sources(asked), dataclasses.replace(read_options(asked), dry_run=True), unheard)
    assert "5 classes as integers" in " ".join(map(str, found.decisions))


# Those that tests/training/adopt/test_adopt.py does not serve.
OTHERS = (
    foreign_graphs.dynamic_batch, foreign_graphs.reshape_of_one, foreign_graphs.unit_range, foreign_graphs.truncation,
    foreign_graphs.noise_map, foreign_graphs.training_batchnorm, foreign_graphs.weights_as_inputs,
    foreign_graphs.not_square, foreign_graphs.external_data, foreign_graphs.with_probabilities,
    foreign_graphs.with_channels_last_judge, foreign_torch.dcgan_opset_7, foreign_torch.dcgan_opset_9,
    foreign_torch.training_mode, foreign_torch.conditional_scripted,
)  # fmt: skip


@pytest.mark.parametrize("maker", OTHERS, ids=lambda maker: maker.__name__)
def test_a_foreign_gan_draws_in_its_package_what_it_draws_in_its_file(
    maker: Callable[[], ForeignGan], tmp_path: Path
) -> None:
    gan = maker()
    asked = cli.parser().parse_args(words_of(gan, tmp_path))
    found = adopt(read_sources(asked), dataclasses.replace(read_options(asked), checked=False), unheard)
    assert found.package is not None
    latents = np.random.default_rng(0).standard_normal((3, gan.latent_size)).astype(np.float32)
    labels = np.arange(3)
    inputs: Arrays = {"latent": latents, **({"label": labels} if gan.classes else {})}
    pixels = replay((found.package / GENERATOR).read_bytes(), inputs)["pixels"]
    assert np.abs(pixels.astype(int) - gan.pixels(latents, labels).astype(int)).max() <= 1
