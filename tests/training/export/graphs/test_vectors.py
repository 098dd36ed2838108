"""Vectors from a run to a package: trained to the bit, exported without pixels, measured by the mixture's modes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from tests.support import exported, small
from training import config as configuration
from training import data, keys
from training.config import Config
from training.errors import ConfigError
from training.export.export import export_run
from training.export.measure import measure
from training.loop import run
from training.loop.trainer import Trainer
from training.tables import Value

RING = {"kind": "ring", "train_samples": 1_000, "held_out_samples": 400}
GENERATOR = {"kind": "mlp", "latent_size": 2, "widths": [8], "norm": "batch"}
DISCRIMINATOR = {"kind": "mlp", "widths": [8], "fourier_octaves": 2}


def config(**changes: dict[str, Value]) -> Config:
    tables = {"data": RING, "generator": GENERATOR, "discriminator": DISCRIMINATOR, **changes}
    return small.config(**tables)  # type: ignore[arg-type]  # plain values, whatever their types


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "run"
    run.start(config(), folder, exported.unheard)
    return folder


@pytest.fixture(scope="module")
def package(trained: Path) -> Path:
    return export_run(trained, trained.parent / "models", "ring", None, exported.unheard)


def manifest(package: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((package / "manifest.json").read_bytes())
    return content


def test_a_run_that_was_restored_goes_on_to_the_bit() -> None:
    settings = config(trainer={"total_samples": 128})
    vectors = data.load(settings.data)
    whole, first = Trainer(settings, vectors), Trainer(settings, vectors)
    for _ in range(4):
        first.step()
    second = Trainer(settings, vectors)
    second.restore(first.checkpoint()["state"])
    for _ in range(4):
        second.step()
    for _ in range(8):
        whole.step()
    for ours, theirs in zip(whole.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_manifest_says_vector_and_speaks_of_no_pixels(package: Path) -> None:
    said = manifest(package)
    assert said["sample"] == {"kind": "vector", "size": 2}
    assert said["latent"] == {"size": 2, "prior": "standard_normal"}
    sample = {"name": "sample", "datatype": "FP32", "shape": [-1, 2], "role": "sample"}
    generator, discriminator = said["generator"], said["discriminator"]
    assert isinstance(generator, dict)
    assert isinstance(discriminator, dict)
    assert generator["outputs"] == discriminator["inputs"] == [sample]


@pytest.mark.parametrize("graph", ["generator", "discriminator"])
def test_golden_vectors_replay_through_onnx_runtime(package: Path, graph: str) -> None:
    session = onnxruntime.InferenceSession(package / f"{graph}.onnx", providers=["CPUExecutionProvider"])
    with np.load(package / "golden.npz", allow_pickle=False) as golden:
        assert set(golden) == {"generator.latent", "generator.sample", "discriminator.sample", "discriminator.logit"}
        inputs = {tensor.name: golden[f"{graph}.{tensor.name}"] for tensor in session.get_inputs()}
        for tensor, found in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            assert np.array_equal(found, golden[f"{graph}.{tensor.name}"])


def test_a_run_that_begins_with_the_package_is_what_its_golden_vectors_say(package: Path) -> None:
    found = exported.apart(package)
    assert found.keys() == {"generator", "discriminator"}
    assert max(found.values()) < 1


def test_golden_logits_belong_to_real_and_to_generated_vectors(package: Path) -> None:
    with np.load(package / "golden.npz", allow_pickle=False) as golden:
        assert np.array_equal(golden["discriminator.sample"][::2], data.load(config().data).held_out[:8])


def test_quality_is_measured_by_the_modes_beside_the_mixtures_own(package: Path) -> None:
    provenance = manifest(package)["provenance"]
    assert isinstance(provenance, dict)
    found = provenance["metrics"]["mixture"]
    assert found["samples"] == 2_500
    assert found["real"]["captured"] == 8
    assert found["generated"]["high_quality_share"] < 0.5 < found["real"]["high_quality_share"]
    assert "pixels" not in provenance["metrics"]["parity"]
    card = (package / "card.md").read_text()
    for words in ("draws vectors of 2 numbers like those of ring", "1,000 vectors trained on", "| modes captured "):
        assert words in card
    assert "pixel" not in card


def test_a_run_and_its_package_have_the_table_of_the_card(package: Path, trained: Path) -> None:
    of_run: list[str] = []
    of_package: list[str] = []
    measure(trained, of_run.append)
    measure(package, of_package.append)
    table = [line for line in of_run if line.startswith("|")]
    assert table == [line for line in of_package if line.startswith("|")]
    assert "\n".join(table) in (package / "card.md").read_text()


def test_the_preview_shows_where_the_vectors_lie(package: Path) -> None:
    with Image.open(package / "preview.png") as picture:
        assert picture.size == (400, 400)


def test_a_runs_pictures_are_of_vectors(trained: Path) -> None:
    with Image.open(trained / "grids" / "000000001280.png") as picture:
        assert picture.size == (400, 400)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator": {}}, r'\[generator\] of kind "dcgan" is for images, and ring has none; try kind = "mlp"'),
        ({"discriminator": {}}, r'\[discriminator\] of kind "dcgan" is for images'),
        ({"trainer": {"horizontal_flips": True}}, "horizontal_flips mirrors images, and ring has none"),
    ],
)
def test_what_is_made_for_images_is_refused(changes: dict[str, dict[str, Value]], words: str) -> None:
    settings = config(**changes)
    with pytest.raises(ConfigError, match=words):
        Trainer(settings, data.load(settings.data))


def test_every_vector_configuration_that_is_shipped_can_be_trained() -> None:
    shipped = [configuration.load(path) for path in keys.SHIPPED.glob("*-ring.toml")]
    assert len(shipped) >= 2
    for settings in shipped:
        short = dataclasses.replace(settings, data=config().data)
        Trainer(short, data.load(short.data)).step()
