"""Export as a whole: a trained run becomes a package that replays, and what does not suit one is refused."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support import exported, small
from training import config
from training.cli import main
from training.data import RingConfig, VectorData, mixtures
from training.diagnostics import report
from training.errors import ExportError
from training.export.export import export_run, load, reference_sample
from training.export.graphs.pair import STATISTICS_LATENTS, build
from training.export.graphs.runtime import Graph
from training.loop import run
from training.state import checkpoint
from training.tables import Value


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.package(tmp_path_factory)


@pytest.fixture
def trained(package: Path) -> Path:
    return package.parents[2] / "run"


def manifest(package: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((package / "manifest.json").read_bytes())
    return content


def test_a_package_lists_every_file_with_its_size_and_hash(package: Path) -> None:
    files = {path.name: path.read_bytes() for path in package.iterdir()}
    files.pop("manifest.json")
    assert set(files) == {"generator.onnx", "discriminator.onnx", "golden.npz", "card.md", "preview.png"}
    assert manifest(package)["files"] == {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }


@pytest.mark.parametrize("graph", ["generator", "discriminator"])
def test_golden_vectors_replay_through_onnx_runtime(package: Path, graph: str) -> None:
    session = onnxruntime.InferenceSession(package / f"{graph}.onnx", providers=["CPUExecutionProvider"])
    with np.load(package / "golden.npz", allow_pickle=False) as golden:
        inputs = {tensor.name: golden[f"{graph}.{tensor.name}"] for tensor in session.get_inputs()}
        for tensor, found in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            assert np.array_equal(found, golden[f"{graph}.{tensor.name}"])


def test_the_generator_is_the_averaged_one_with_statistics_of_its_own(package: Path, trained: Path) -> None:
    pair = checkpoint.load_run(trained)
    latents = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))

    def served(network: nn.Module) -> float:
        sample = Graph((package / "generator.onnx").read_bytes()).run({"latent": latents.numpy()})["sample"]
        return float(np.abs(sample - network(latents).numpy()).max())

    assert served(pair.players.generator) > 1e-2
    assert served(pair.generator) > 1e-2  # its statistics are those of other weights
    generated, _ = load(trained)
    build(generated, load(trained)[1], exported.unheard)
    assert served(generated.generator) < 1e-4


def test_golden_logits_belong_to_real_and_to_generated_samples(package: Path) -> None:
    with np.load(package / "golden.npz", allow_pickle=False) as golden:
        samples, logits = golden["discriminator.sample"], golden["discriminator.logit"]
    steps = (samples + 1) * 255 / 2
    assert np.allclose(steps, np.rint(steps), atol=1e-3)  # all are quantised, as what the service judges
    _, images = load(package.parents[2] / "run")
    assert np.array_equal(np.rint(steps[::2]).astype(np.uint8), images.held_out[:8])
    assert len(set(logits.tolist())) == 16


def test_provenance_says_what_was_trained_on_what_and_how_well(package: Path, trained: Path) -> None:
    provenance = manifest(package)["provenance"]
    assert isinstance(provenance, dict)
    settings = config.load(trained / "config.toml")
    assert provenance["config_sha256"] == config.sha256(settings)
    assert config.from_tables(provenance["config"]) == settings
    assert provenance["samples_seen"] == 1_280
    assert provenance["data"]["name"] == "digits"
    metrics = provenance["metrics"]
    assert metrics["images"]["samples"] == metrics["images"]["held_out_samples"] == 256
    assert sum(metrics["images"]["generated"]["histogram"]) == 256
    assert metrics["images"]["classifier"]["accuracy"] > 0.95
    assert metrics["images"]["real"]["frechet_distance"] < metrics["images"]["generated"]["frechet_distance"]
    assert 0.9 < metrics["discriminator"]["area_under_curve"] <= 1
    assert metrics["parity"]["sample"] < 1e-4


def test_no_file_of_a_package_holds_a_path_of_this_machine(package: Path) -> None:
    for path in package.iterdir():
        for trace in (str(Path.cwd()), str(Path.home()), str(package.parents[2])):
            assert trace.encode() not in path.read_bytes(), path.name


def test_the_card_answers_what_a_user_asks_first(package: Path) -> None:
    card = (package / "card.md").read_text()
    assert card.startswith("# small 1\n\nA relativistic GAN that draws grey images of 8x8 pixels like those of digits.")
    for words in ("CC BY 4.0", "CC0-1.0", "1,541 images trained on, 256 held out", "Fréchet distance", "uniform noise"):
        assert words in card
    assert "## Diagnosis" in card
    settings = re.search(r"```toml\n(.*?)\n```", card, re.DOTALL)
    assert settings is not None
    assert config.loads(settings.group(1)) == small.config()


def test_the_preview_shows_sixty_four_samples(package: Path) -> None:
    with Image.open(package / "preview.png") as picture:
        assert picture.width == picture.height >= 8 * 8


def test_a_second_export_is_the_next_version_and_the_same_but_for_the_moment(package: Path, trained: Path) -> None:
    said: list[str] = []
    again = export_run(trained, package.parents[1], None, None, said.append, license_text="CC0-1.0")
    assert again == package.parent / "2"
    for name in ("generator.onnx", "discriminator.onnx", "golden.npz", "preview.png"):
        assert (again / name).read_bytes() == (package / name).read_bytes(), name
    changing = {"version", "created", "files"}
    first, second = manifest(package), manifest(again)
    assert {key for key in first if first[key] != second[key]} <= changing
    stages = [line.split(":")[0] for line in said]
    assert stages == ["checkpoint", "batch statistics", "graphs", "parity", "calibration", "evaluation", "published"]


def test_a_version_that_exists_is_refused_before_any_work(package: Path, trained: Path) -> None:
    said: list[str] = []
    with pytest.raises(ExportError, match="small/1 exists, and a package never changes"):
        export_run(trained, package.parents[1], None, 1, said.append)
    assert said == []


def folder_of_images(folder: Path, count: int, mode: str) -> Path:
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(count):
        pixels = chance.integers(0, 256, (8, 8, len(mode)), dtype=np.uint8)
        Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels, mode).save(folder / f"{number}.png")
    return folder


def run_on(folder: Path, tmp_path: Path, **data: Value) -> Path:
    table = {"kind": "folder", "path": str(folder), **data}
    run.start(small.config(data=table, trainer={"total_samples": 32}), tmp_path / "run", exported.unheard)
    return tmp_path / "run"


def test_images_without_labels_make_a_package_with_the_figures_that_need_none(tmp_path: Path) -> None:
    trained = run_on(folder_of_images(tmp_path / "pictures", 160, "RGB"), tmp_path, held_out_fraction=0.5)
    said: list[str] = []
    package = export_run(trained, tmp_path / "models", "noise", None, said.append)
    assert "evaluation: by random convolutions" in said
    assert "energies of fixed random convolutions" in (package / "card.md").read_text()
    content = json.dumps(manifest(package))
    assert '"random_convolutions"' in content
    assert '"classifier": {' not in content
    assert str(tmp_path) not in content


def test_other_data_than_the_runs_is_refused(tmp_path: Path) -> None:
    pictures = folder_of_images(tmp_path / "pictures", 160, "L")
    trained = run_on(pictures, tmp_path, held_out_fraction=0.5)
    (pictures / "0.png").unlink()
    with pytest.raises(ExportError, match="was trained on other data"):
        export_run(trained, tmp_path / "models", None, None, exported.unheard)


def test_the_command_exports_a_diagnosed_run_and_tells_every_stage(trained: Path, tmp_path: Path) -> None:
    _, found = report.write(trained)
    status, output, errors = small.command("export", trained, "--models", tmp_path, "--name", "other", "--version", "7")
    assert (status, errors) == (0, "")
    assert f"gathering them anew over {STATISTICS_LATENTS:,} latents" in output
    assert output.splitlines()[-1].startswith(f"published: {tmp_path}/other/7, 0.0")
    assert manifest(tmp_path / "other" / "7")["version"] == 7
    card = (tmp_path / "other/7/card.md").read_text()
    assert found
    assert all(f"- *{finding.name}*: {finding.words}" in card for finding in found)


def test_a_name_that_is_none_is_refused_by_the_command(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(trained), "--models", str(tmp_path), "--name", "Other"]) == 2
    assert (
        capsys.readouterr().err
        == '"Other" cannot name a package; names are 1 to 64 of a-z, 0-9, - and _, a letter or digit first\n'
    )


def vectors(count: int, size: int, *, redistributable: bool) -> VectorData:
    drawn = np.zeros((count, size), np.float32)
    drawn[:, 0] = np.arange(count)
    return VectorData("own", drawn, drawn, "0" * 64, "of our own", redistributable=redistributable)


def test_a_reference_sample_is_spread_over_the_held_out_vectors_of_data_that_may_be_published() -> None:
    ring = mixtures.load(RingConfig(train_samples=10, held_out_samples=10_000))
    chosen = reference_sample(ring)
    assert chosen is not None
    np.testing.assert_array_equal(chosen, ring.held_out[np.arange(4_096) * 10_000 // 4_096])
    assert reference_sample(vectors(10, 2, redistributable=False)) is None
    few, wide = (reference_sample(vectors(*shape, redistributable=True)) for shape in ((10, 2), (3_000, 1_024)))
    assert few is not None
    assert few[:, 0].tolist() == list(range(10))
    assert wide is not None
    assert wide.shape == (1_024, 1_024)
