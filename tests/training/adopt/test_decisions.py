"""What is decided of tensors that have more than one reading, and the flags that decide otherwise."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support import foreign_graphs, foreign_refused
from tests.support.foreign_graphs import DISCRIMINATOR, FLOAT, GENERATOR, SHAPE, Foreign, ForeignGan, plain, tensor
from tests.support.toy_models import replay
from tests.training.adopt.test_adopt import adopted
from training.adopt import Adoption

IMAGE = tensor("image", FLOAT, "N", *SHAPE)


def decided(found: Adoption, subject: str) -> str:
    """What was decided of a subject, with its reason."""
    return next(str(decision) for decision in found.decisions if decision.subject == subject)


def judge(last: str, *, of_map: bool = False, coupled: bool = False) -> bytes:
    """Serialize a discriminator: one number or a map of them, with or without statistics of its batch."""
    graph = Foreign(100)
    seen = graph.node("Conv", "image", graph.weights(1, SHAPE[0], 4, 4, fan_in=48), strides=[4, 4])
    if coupled:
        seen = graph.node("Sub", seen, graph.node("ReduceMean", seen, axes=[0], keepdims=1))
        seen = graph.node("Add", seen, graph.weights(1, 3, 3, fan_in=1))
    if not of_map:
        seen = graph.node("ReduceSum", graph.node("Flatten", seen), graph.constant(np.array([1])), keepdims=1)
    graph.node(last, seen, output="found")
    return graph.finish([IMAGE], [tensor("found", FLOAT, "N", *((1, 3, 3) if of_map else (1,)))])


def test_a_truncation_that_is_not_stated_is_none(tmp_path: Path) -> None:
    gan = foreign_graphs.truncation()
    unstated = ForeignGan(files=gan.files)
    found = adopted(unstated, tmp_path / "in", tmp_path / "models", "whole")
    assert decided(found, "constant") == (
        "constant: 'truncation' [] is 1 (no truncation); --set truncation=VALUE changes it"
    )


def test_noise_may_be_drawn_once_for_all_samples(tmp_path: Path) -> None:
    unstated = ForeignGan(files=foreign_graphs.noise_map().files)
    found = adopted(unstated, tmp_path / "in", tmp_path / "models", "noisy", "--set", "noise=normal")
    assert "one draw of the standard normal" in decided(found, "constant")
    latents = np.zeros((2, 16), np.float32)
    assert found.package is not None
    sample = replay((found.package / "generator.onnx").read_bytes(), {"latent": latents})["sample"]
    still = adopted(unstated, tmp_path / "in", tmp_path / "models", "still", "--set", "noise=0")
    assert still.package is not None
    without = replay((still.package / "generator.onnx").read_bytes(), {"latent": latents})["sample"]
    assert (sample[0] == sample[1]).all()
    assert (sample != without).any()


def test_random_operators_are_made_constant_when_asked(tmp_path: Path) -> None:
    refused = foreign_refused.random_inside()
    found = adopted(ForeignGan(files=refused.files), tmp_path / "in", tmp_path / "models", "frozen", "--freeze-noise")
    assert "1 random operators made constant (--freeze-noise)" in decided(found, "graph")


def test_labels_have_the_names_that_are_stated(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    gan = foreign_graphs.one_hot_label()
    words = ("--labels", str(tmp_path / "names.txt"), "--license", "CC0-1.0")
    found = adopted(gan, tmp_path / "in", tmp_path / "models", "named", *words)
    assert "5 classes as one-hot (as stated)" in decided(found, "label")
    assert found.package is not None
    assert '"elk"' in (found.package / "manifest.json").read_text()
    assert "CC0-1.0" in (found.package / "card.md").read_text()


@pytest.mark.parametrize(
    ("content", "flags", "scores", "batch"),
    [
        (judge("Identity"), (), "logits (it ends in no sigmoid", "any"),
        (judge("Sigmoid"), (), "probabilities (it ends in a sigmoid, whose input is taken)", "any"),
        (judge("Sigmoid"), ("--critic-output", "logit"), "logits (as stated)", "any"),
        (judge("HardSigmoid"), (), "probabilities (its last operators keep it within [0, 1])", "any"),
        (judge("Sigmoid", of_map=True), (), "probabilities (it ends in a sigmoid", "any"),
        (judge("Identity", coupled=True), (), "logits (it ends in no sigmoid", "whole requests"),
    ],
    ids=["logit", "sigmoid", "logit-of-a-sigmoid", "bounded", "map", "coupled"],
)
def test_the_scores_of_a_discriminator_are_read_by_its_last_operators(
    content: bytes, flags: tuple[str, ...], scores: str, batch: str, tmp_path: Path
) -> None:
    gan = ForeignGan(files={GENERATOR: plain(101), DISCRIMINATOR: content})
    found = adopted(gan, tmp_path / "in", tmp_path / "models", "judged", *flags, "--dry-run")
    assert scores in decided(found, "discriminator's scores")
    assert re.match(rf"discriminator's batch: {batch} \(", decided(found, "discriminator's batch"))


def test_a_discriminator_in_another_range_is_given_its_own(tmp_path: Path) -> None:
    graph = Foreign(102)
    graph.dense(graph.node("Flatten", "image"), int(np.prod(SHAPE)), 1, output="found")
    content = graph.finish([IMAGE], [tensor("found", FLOAT, "N", 1)])
    gan = ForeignGan(files={GENERATOR: plain(103), DISCRIMINATOR: content})
    found = adopted(gan, tmp_path / "in", tmp_path / "models", "unit", "--critic-range", "0", "1")
    assert found.package is not None
    shown = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.float32) / 255
    (expected,) = replay(content, {"image": shown}).values()
    answered = replay((found.package / "discriminator.onnx").read_bytes(), {"sample": 2 * shown - 1})["logit"]
    assert answered == pytest.approx(expected.ravel(), abs=1e-5)
