"""The `evaluate` command: a run and the package made of it have the same table."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support import exported, games, small
from tests.training.evaluation import pictures
from tests.training.export.graphs.test_features import extractor
from training.cli import main
from training.errors import CheckpointError, ExportError
from training.export.export import export_run
from training.export.graphs.features import ExtractorFile
from training.export.measure import as_text, measure
from training.loop import run
from training.tables import Value


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
    return exported.package(tmp_path_factory)


def table(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("|")]


def quality_of(package: Path) -> list[str]:
    """The lines of the card's section on quality."""
    return (package / "card.md").read_text().split("## Quality")[1].split("\n## ")[0].splitlines()


def test_a_run_and_its_package_have_the_table_of_the_card(package: Path) -> None:
    of_run = as_text(measure(package.parents[2] / "run", exported.unheard))
    status, of_package, errors = small.command("evaluate", package)
    assert (status, errors) == (0, "")
    assert table(of_run) == table(of_package.splitlines())
    assert table(of_run) == [line for line in quality_of(package) if line.startswith("|")]


def test_a_package_of_other_data_is_not_measured_with_this(package: Path, tmp_path: Path) -> None:
    shutil.copytree(package, tmp_path / "copy")
    manifest = json.loads((package / "manifest.json").read_text())
    manifest["provenance"]["data"]["sha256"] = "0" * 64
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="was trained on other data than digits as it is now"):
        measure(tmp_path / "copy", exported.unheard)


def test_a_place_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        measure(tmp_path / "nothing", exported.unheard)


def test_the_figures_are_those_of_the_manifest_as_json(package: Path) -> None:
    status, printed, noted = small.command("evaluate", package, "--json")
    assert status == 0
    assert "evaluation: by a classifier" in noted
    kept = json.loads((package / "manifest.json").read_text())["provenance"]["metrics"]["images"]
    measured = dict(leaves(json.loads(printed)["images"]))
    assert measured.keys() == dict(leaves(kept)).keys()
    for place, figure in leaves(kept):  # the command has another number of threads, which round differently
        assert measured[place] == (
            pytest.approx(figure, rel=0.02, abs=0.01) if isinstance(figure, float) else figure
        ), place


def leaves(tree: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every value of nested mappings and lists, with its place."""
    if isinstance(tree, dict | list):
        for key, below in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(below, f"{place}/{key}")
    else:
        yield place, tree


def test_a_run_on_images_without_labels_has_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = pictures.scenes(320, 1)
    small_images = pictures.as_bytes(images.reshape(320, 3, 8, 4, 8, 4).mean(axis=(3, 5)))
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(small_images):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "photos" / f"{number}.png")
    folder: dict[str, Value] = {"kind": "folder", "path": str(tmp_path / "photos"), "held_out_fraction": 0.5}
    run.start(small.config(data=folder, trainer={"total_samples": 32}), tmp_path / "run", exported.unheard)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "energies of fixed random convolutions" in printed
    (precision,) = (line for line in table(printed.splitlines()) if line.startswith("| precision"))
    generated, real, blobs = (float(cell.split()[0]) for cell in precision.split("|")[2:5])
    assert generated < 0.5 < real
    assert blobs < 0.5


def test_features_that_do_not_fit_are_refused_before_anything_is_computed(package: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ExportError, match="cannot read"):
        measure(package.parents[2] / "run", said.append, features=ExtractorFile(path=tmp_path / "none.onnx"))
    assert said == []


def test_the_users_own_features_judge_instead(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = extractor(tmp_path, ["batch", 1, 8, 8], first_pixels=16)
    assert main(["evaluate", str(package), "--features", str(path), "--features-range", "unit"]) == 0
    printed = capsys.readouterr().out
    assert "Features are the 16 outputs of `extractor.onnx` (SHA-256 `" in printed
    assert "class" not in "".join(table(printed.splitlines()))


def test_codes_of_coloured_shapes_are_compared_with_the_true_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data: dict[str, Value] = {"kind": "shapes", "image_size": 16, "train_samples": 120, "held_out_samples": 90}
    run.start(games.infogan(data=data, trainer={"total_samples": 320}), tmp_path / "run", exported.unheard)
    package = export_run(tmp_path / "run", tmp_path / "models", "shapes", None, exported.unheard)
    found = measure(package, exported.unheard)
    codes = found.figures["codes"]
    assert isinstance(codes, dict)
    assert set(codes) == {"colour", "shape", "x", "y", "radius"}
    assert all(0 <= share <= 1 for share in codes.values())
    assert f"| x      | {codes['x']:.4f} |" in table(as_text(found))
    assert table(as_text(found)) == table(quality_of(package))
