"""What cannot be adopted is refused in one sentence that names node or tensor and what to do; nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.support import foreign_graphs, foreign_refused
from tests.support.foreign_graphs import (
    DISCRIMINATOR,
    ENCODER,
    FLOAT,
    GENERATOR,
    INT64,
    LATENT_SIZE,
    SHAPE,
    Foreign,
    plain,
    tensor,
)
from tests.training.data import images
from training.cli import main

Z = tensor("z", FLOAT, "N", LATENT_SIZE)
IMAGE = tensor("image", FLOAT, "N", *SHAPE)
SENTENCES = {
    "custom_domain": r"node 2 \(FusedUpsample\) is of the domain 'com.acme'.*without custom operators",
    "random_inside": r"node 2 \(RandomNormalLike\) draws random numbers.*noise as an input, or .*--freeze-noise",
    "missing_external_data": r"the external data of 'constant_0' cannot be read.*put its data file beside it",
    "image_to_image": r"takes images, 'AnimeGANv3_input:0' \[1, 32, 32, 3\], and no latents",
    "dynamic_size": r"the input 'scale' \[2\] is neither latent nor label; give it a value with --set scale=VALUE",
    "batch_coupled": r"one and the same 'image'.*depend on their batch.*export it in inference mode",
    "not_a_number": r"numbers that are not finite in 'image'",
    "control_flow": r"node .* \(If\) is control flow.*export it traced",
    "four_channels": r"the output 'image' \[N, 4, 12, 12\] has neither 1 \(grey\) nor 3 \(colour\) channels",
    "truncated": r"generator.onnx is no ONNX file, or is cut off",
    "not_onnx": r"generator.onnx is no ONNX file, or is cut off",
    "empty": r"generator.onnx is no ONNX graph",
}


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that a command line is refused with, after exit code 2; nothing is written."""
    models = folder / "models"
    try:
        code = main(["adopt", str(folder / GENERATOR), "--name", "refused", "--models", str(models), *words])
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert not models.exists() or list(models.iterdir()) == []
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    return said


def write(folder: Path, **graphs: bytes) -> None:
    for name, content in graphs.items():
        (folder / f"{name}.onnx").write_bytes(content)


@pytest.mark.parametrize("name", SENTENCES)
def test_a_file_that_no_package_can_be_made_of_is_refused_in_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = foreign_refused.MAKERS[name]()
    for file, content in refused.files.items():
        (tmp_path / file).write_bytes(content)
    assert re.search(SENTENCES[name], refusal(tmp_path, capsys, *refused.flags))


def test_every_refused_graph_has_its_sentence() -> None:
    assert SENTENCES.keys() == foreign_refused.MAKERS.keys()


def unbounded() -> bytes:
    graph = Foreign(90)
    graph.node("Identity", graph.image("z"), output="image")
    return graph.finish([Z], [IMAGE])


def flat_of_64() -> bytes:
    graph = Foreign(91)
    graph.node("Tanh", graph.dense("z", LATENT_SIZE, 64), output="image")
    return graph.finish([Z], [tensor("image", FLOAT, "N", 64)])


def two_latents() -> bytes:
    graph = Foreign(92)
    graph.node("Tanh", graph.image(graph.node("Add", "a", "b")), output="image")
    return graph.finish([tensor(name, FLOAT, "N", LATENT_SIZE) for name in "ab"], [IMAGE])


def open_latent() -> bytes:
    graph = Foreign(93)
    graph.node("Tanh", graph.image("z"), output="image")
    return graph.finish([tensor("z", FLOAT, "N", "Z")], [IMAGE])


def labels_unknown() -> bytes:
    graph = Foreign(94)
    number = graph.node("Unsqueeze", graph.node("Cast", "y", to=FLOAT), graph.constant(np.array([1])))
    graph.node("Tanh", graph.image(graph.node("Add", "z", number)), output="image")
    return graph.finish([Z, tensor("y", INT64, "N")], [IMAGE])


def no_opset() -> bytes:
    model = onnx.load_model_from_string(plain(95))
    del model.opset_import[:]
    return bytes(model.SerializeToString())


def future_opset() -> bytes:
    model = onnx.load_model_from_string(plain(96))
    model.opset_import[0].version = 27
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "words", "sentence"),
    [
        (unbounded, (), r"no operator bounds the output 'image'.*state --range -1 1"),
        (unbounded, ("--range", "1", "1"), r"--range 1 1 is no LOW below a HIGH"),
        (flat_of_64, (), r"'image' \[N, 64\] may be 8x8 pixels or a vector; say --shape 1,8,8 or --shape 64"),
        (flat_of_64, ("--shape", "3,8,8"), r"'image' \[N, 64\] has 64 numbers, which --shape 3,8,8 has not"),
        (flat_of_64, ("--shape", "8x8"), r"--shape 8x8 is neither C,H,W"),
        (two_latents, (), r"2 inputs that could be the latent: 'a' \[\?, 16\], 'b' \[\?, 16\]; name it with --latent"),
        (two_latents, ("--latent", "c"), r"no input 'c' for --latent; it has 'a'"),
        (open_latent, (), r"the latent 'z' \[\?, \?\] does not state its size; give --latent-size Z"),
        (labels_unknown, (), r"the label 'y' \[\?\] does not state its classes; give --labels"),
        (labels_unknown, ("--labels", "/nowhere"), r"--labels /nowhere is no file of names"),
        (no_opset, (), r"states no opset of ai.onnx"),
        (future_opset, (), r"has opset 27; export it with 18"),
        (lambda: plain(97), ("--set", "psi=1"), r"--set psi: there is no such input; there are z"),
        (lambda: plain(97), ("--set", "z=high"), r"--set z=high is not NAME=NUMBER or NAME=normal"),
        (lambda: plain(97), ("--labels", "a,b"), r"takes no label, so --labels has no meaning"),
        (lambda: plain(97), ("--output", "y"), r"has no output 'y'; it has image"),
        (lambda: plain(97), ("--data", "."), r"--data calibrates a discriminator, and there is none"),
        (lambda: plain(97), ("--loss", "bce"), r"--loss bce is none of minimax"),
        (lambda: plain(97), ("--discriminator", "/nowhere.onnx"), r"cannot read /nowhere.onnx"),
        (lambda: plain(97), ("--license", "x" * 201), r"the license has 201 characters"),
    ],
)
def test_what_is_not_known_or_wrongly_stated_is_asked_for(
    make: Callable[[], bytes], words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, generator=make())
    assert re.search(sentence, refusal(tmp_path, capsys, *words))


def judge_of(shape: tuple[int, ...], outputs: int) -> bytes:
    graph = Foreign(98)
    size = int(np.prod(shape))
    graph.dense(graph.node("Flatten", "image"), size, outputs, output="found")
    inputs, found = tensor("image", FLOAT, "N", *shape), tensor("found", FLOAT, "N", outputs)
    return graph.finish([inputs], [found])


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        (DISCRIMINATOR, judge_of((3, 8, 8), 1), r"discriminator.onnx takes 'image' \[\?, 3, 8, 8\]; .* of 3x12x12"),
        (DISCRIMINATOR, judge_of(SHAPE, 2), r"discriminator.onnx makes 'found' of 2 numbers; .* one logit"),
        (ENCODER, judge_of(SHAPE, 3), r"encoder.onnx makes 'found' of 3 numbers; .* one latent of 16 numbers"),
    ],
)
def test_a_graph_that_does_not_fit_the_generator_is_refused(
    file: str, content: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, generator=plain(97))
    (tmp_path / file).write_bytes(content)
    role = file.removesuffix(".onnx")
    assert re.search(sentence, refusal(tmp_path, capsys, f"--{role}", str(tmp_path / file)))


def test_folders_that_are_not_the_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan = foreign_graphs.integer_label()
    for file, content in gan.files.items():
        (tmp_path / file).write_bytes(content)
    for name in ("cats", "dogs"):
        images.fill(tmp_path / "pictures" / name, 40)
    said = refusal(
        tmp_path, capsys, "--discriminator", str(tmp_path / DISCRIMINATOR), "--data", str(tmp_path / "pictures")
    )
    assert re.search(r"are the classes cats, dogs, and the package's are 0, 1, 2, 3, 4; name the folders", said)


def test_external_data_that_no_file_can_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load_model_from_string(plain(99))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.dims[:] = [2**15, 2**15]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    write(tmp_path, generator=model.SerializeToString())
    assert re.search(
        rf"{2**32:,} bytes of external data, most of it in '{weights.name}'.*float16 weights", refusal(tmp_path, capsys)
    )


def test_a_dry_run_decides_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, generator=plain(97))
    words = ["adopt", str(tmp_path / GENERATOR), "--name", "dry", "--models", str(tmp_path / "models"), "--dry-run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "range: [-1, 1] (its last operators bound it" in said
    assert "dry run: nothing was written" in said
    assert not (tmp_path / "models").exists()
