"""The residual pairs in every game of images, and from a run to a package whose batches do not change a sample."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.support import exported, games, small
from tests.support.states import same, whole_and_resumed
from training import objectives
from training.config import Config
from training.data import DigitsConfig, ImageData, digits
from training.export.export import export_run
from training.loop import run
from training.loop.trainer import Trainer
from training.objectives import BiGan, InfoGan, Irgan, Relativistic
from training.objectives.base import Batch
from training.state import players
from training.tables import Value

DIGITS: Final = digits.load(DigitsConfig())
Tables = dict[str, dict[str, Value]]
PAIRS: Final[dict[str, Tables]] = {
    "r3gan": {
        "generator": {"kind": "r3gan", "latent_size": 8, "widths": [16, 8], "blocks": 1, "group_width": 8},
        "discriminator": {"kind": "r3gan", "widths": [8, 16], "blocks": 1, "group_width": 8},
    },
    "sngan": {
        "generator": {"kind": "sngan", "latent_size": 8, "widths": [16, 8]},
        "discriminator": {"kind": "sngan", "widths": [8, 16], "flat_blocks": 1},
    },
}
GAMES: Final = sorted(set(objectives.KINDS) - {Irgan.kind})


def configured(pair: str, kind: str, **changes: dict[str, Value]) -> Config:
    """The small run with a residual pair in a game; some of them with classes, packs and augmentation."""
    tables: Tables = {**{name: dict(table) for name, table in PAIRS[pair].items()}, **changes}
    if kind == InfoGan.kind:
        return games.infogan(0.0, **tables)
    if kind == BiGan.kind:
        return games.bigan("convolutional", **tables)
    tables["generator"].setdefault("conditional", True)
    penalties: dict[str, Value] = {"gamma_r1": 0.5, "gamma_r2": 0.5} if kind == Relativistic.kind else {}
    return small.config(**tables, objective={"kind": kind, **penalties})


@pytest.mark.parametrize("kind", GAMES)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_plays_every_game_of_images(pair: str, kind: str) -> None:
    training = Trainer(configured(pair, kind), DIGITS)
    for _ in range(2):
        readings = training.step()
    assert all(math.isfinite(value) for value in readings.values())


@pytest.mark.parametrize("augmentation", ["ada", "diffaugment"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_packed_augmented_game_with_both_penalties_resumes_bit_for_bit(pair: str, augmentation: str) -> None:
    tables: Tables = {name: dict(table) for name, table in PAIRS[pair].items()}
    tables["discriminator"]["pack"] = 2
    config = small.config(**tables, augmentation={"kind": augmentation})
    whole, second = whole_and_resumed(lambda: Trainer(config, DIGITS), steps=2)
    assert same(whole.checkpoint(), second.checkpoint())


@pytest.mark.parametrize("pair", PAIRS)
def test_bf16_changes_losses_and_penalties_by_little(pair: str) -> None:
    training = Trainer(configured(pair, Relativistic.kind), DIGITS)
    for _ in range(3):  # so that branches are not zero
        training.step()
    batch = Batch(torch.rand(16, 1, 8, 8) * 2 - 1, torch.randn(16, 8), torch.arange(16) % 10)
    nets = players.networks_of(training.players.generator_side, training.players.critic_side)
    full = training.config.objective.critic_loss(nets, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = training.config.objective.critic_loss(nets, batch)
    for name in ("adversarial", "r1", "r2"):
        assert torch.isclose(full.parts[name], half.parts[name].float(), rtol=0.05, atol=1e-3), name


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each pair: of R3GAN's with codes, of SNGAN's with classes."""
    made, short = {}, {"total_samples": 128, "log_every_samples": 64, "ema_half_life_samples": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
        for pair, kind in (("r3gan", InfoGan.kind), ("sngan", "hinge")):
            root = tmp_path_factory.mktemp(pair)
            config = configured(pair, kind, trainer=dict(short), diagnostics={"every_samples": 0})
            run.start(config, root / "run", exported.unheard)
            made[pair] = export_run(root / "run", root / "models", pair, None, exported.unheard)
    return made


def test_runtimes_compute_the_doubling_as_an_interpolation(packages: dict[str, Path]) -> None:
    operators = {node.op_type for node in onnx.load(packages["r3gan"] / "generator.onnx").graph.node}
    assert "Resize" in operators
    assert "ConvTranspose" not in operators


@pytest.mark.parametrize("pair", PAIRS)
def test_a_run_that_begins_with_a_package_is_what_its_golden_vectors_say(packages: dict[str, Path], pair: str) -> None:
    found = exported.apart(packages[pair])
    assert found.keys() == (
        {"generator", "discriminator", "encoder"} if pair == "r3gan" else {"generator", "discriminator"}
    )
    assert max(found.values()) < 1


@pytest.mark.parametrize("pair", PAIRS)
def test_a_graph_takes_any_batch_and_gives_bytes_and_single_scores(packages: dict[str, Path], pair: str) -> None:
    sessions = {
        name: onnxruntime.InferenceSession(packages[pair] / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("generator", "discriminator")
    }
    with np.load(packages[pair] / "golden.npz", allow_pickle=False) as golden:
        told = {tensor.name: golden[f"generator.{tensor.name}"][:5] for tensor in sessions["generator"].get_inputs()}
    sample, pixels = sessions["generator"].run(["sample", "pixels"], told)
    assert sample.shape == (5, *DIGITS.sample_shape)
    assert (pixels.shape, pixels.dtype) == ((5, 8, 8, 1), np.uint8)
    judged = {"sample": sample, **({"label": told["label"]} if "label" in told else {})}
    (together,) = sessions["discriminator"].run(["logit"], judged)
    alone = [
        sessions["discriminator"].run(["logit"], {k: v[i : i + 1] for k, v in judged.items()})[0] for i in range(5)
    ]
    assert np.allclose(np.concatenate(alone), together, atol=1e-5)


def test_the_service_finds_batch_sizes_in_which_every_sample_has_equal_bits(packages: dict[str, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "check", "--json", *map(str, packages.values())],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for package in json.loads(done.stdout):
        assert package["ready"], package
        for graph in package["graphs"].values():
            assert graph["reproducible"]
            assert max(graph["buckets"]) >= 16


def test_the_images_of_the_digits_are_what_these_tests_think() -> None:
    assert isinstance(DIGITS, ImageData)
    assert DIGITS.sample_shape == (1, 8, 8)
