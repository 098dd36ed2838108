"""The `calibrate` command: a package's next version has what an export of today would have given it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import exported, small
from tests.support.toy import write_toy_package
from training.errors import ExportError, TrainingError
from training.export.export import export_run
from training.export.manifest import file_entry
from training.export.recalibration import calibrate_package
from training.loop import run

Json = Any
OLD_CARD = "# pictures 1\n\nDigits.\n\n## Scores\n\nOf real and generated ones.\n\n## Limits\n\n- None.\n"


@pytest.fixture(scope="module")
def of_today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional package as it is exported now."""
    root = tmp_path_factory.mktemp("classes")
    changes: Json = {
        "generator": {"conditional": True},
        "trainer": {"total_samples": 320},
        "diagnostics": {"every_samples": 320},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
        run.start(small.config(**changes), root / "run", exported.unheard)
        return export_run(root / "run", root / "models", "pictures", 1, exported.unheard)


@pytest.fixture
def older(of_today: Path, tmp_path: Path) -> Path:
    """The same package as it was exported before scores without a label were calibrated."""
    folder = tmp_path / "models/pictures/1"
    shutil.copytree(of_today, folder)
    (folder / "card.md").write_text(OLD_CARD)

    def forget(manifest: Json) -> None:
        del manifest["discriminator"]["unknown_label"]
        del manifest["provenance"]["metrics"]["discriminator"]["unknown_label"]
        manifest["files"]["card.md"] = file_entry(OLD_CARD.encode())

    change(folder, forget)
    return folder


def manifest_of(folder: Path) -> Json:
    return json.loads((folder / "manifest.json").read_text())


def change(folder: Path, how: Callable[[Json], None]) -> None:
    manifest = manifest_of(folder)
    how(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_an_exported_package_of_classes_says_how_it_is_read_without_one(of_today: Path) -> None:
    unknown = manifest_of(of_today)["discriminator"]["unknown_label"]
    assert len(unknown["offsets"]) == len(unknown["weights"]) == 10
    assert 0 <= unknown["label_accuracy"] <= 1
    figures = manifest_of(of_today)["provenance"]["metrics"]["discriminator"]["unknown_label"]
    assert figures["expected_calibration_error"] == unknown["calibration"]["expected_calibration_error"]
    card = (of_today / "card.md").read_text()
    assert "## Scores without a label" in card
    assert f"| held-out samples that are given their own class | {unknown['label_accuracy']:.4f} |" in card


def test_the_next_version_says_what_an_export_of_today_says(of_today: Path, older: Path) -> None:
    status, said, errors = small.command("calibrate", older)
    assert (status, errors) == (0, "")
    assert said.splitlines()[-1] == f"published: {older.parent / '2'}"
    next_version, former, exported_now = (manifest_of(each) for each in (older.parent / "2", older, of_today))
    assert next_version["version"] == 2
    assert next_version["discriminator"] == exported_now["discriminator"]
    kept = ("latent", "labels", "sample", "generator", "golden", "summary")
    assert {key: next_version[key] for key in kept} == {key: former[key] for key in kept}
    for name, entry in next_version["files"].items():
        content = (older.parent / "2" / name).read_bytes()
        assert entry == file_entry(content)
        assert name == "card.md" or content == (older / name).read_bytes()


def test_the_next_version_says_where_it_comes_from(older: Path) -> None:
    before = file_entry((older / "manifest.json").read_bytes())["sha256"]
    provenance = manifest_of(calibrate_package(older, exported.unheard))["provenance"]
    assert provenance["recalibrated"]["from_version"] == 1
    assert provenance["recalibrated"]["from_manifest_sha256"] == before
    assert provenance["recalibrated"]["data"]["name"] == "digits"
    assert provenance["metrics"]["discriminator"]["unknown_label"]["evaluation_samples"] == 256
    assert provenance["metrics"]["images"] == manifest_of(older)["provenance"]["metrics"]["images"]


def test_the_card_gets_its_title_and_one_section_before_the_limits(older: Path) -> None:
    second = calibrate_package(older, exported.unheard)
    card = (second / "card.md").read_text()
    titles = [line for line in card.splitlines() if line.startswith("#")]
    assert titles == ["# pictures 2", "## Scores", "## Scores without a label", "## Limits"]
    again = (calibrate_package(second, exported.unheard) / "card.md").read_text()
    assert again == card.replace("# pictures 2", "# pictures 3")


def test_another_programs_package_takes_its_data_from_a_configuration(older: Path, tmp_path: Path) -> None:
    def of_another(manifest: Json) -> None:
        manifest["provenance"] |= {"config": {"lr": 0.1}, "data": {"name": "mine", "sha256": "0" * 64}, "metrics": {}}

    change(older, of_another)
    (tmp_path / "mine.toml").write_text(small.text())
    with pytest.raises(TrainingError):
        calibrate_package(older, exported.unheard)
    found = calibrate_package(older, exported.unheard, config_name=str(tmp_path / "mine.toml"))
    assert manifest_of(found)["discriminator"]["unknown_label"]["calibration"]["fit_samples"] == 256


def damaged_pack(manifest: Json) -> None:
    manifest["discriminator"]["pack"] = 2


def other_data(manifest: Json) -> None:
    manifest["provenance"]["data"]["sha256"] = "0" * 64


def other_names(manifest: Json) -> None:
    manifest["labels"]["names"].reverse()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (damaged_pack, "take more than a latent or one sample, and a label"),
        (other_data, "was trained on other data than digits as it is now"),
        (other_names, "digits has the classes .* has "),
    ],
)
def test_what_does_not_suit_is_refused_and_nothing_is_published(
    older: Path, how: Callable[[Json], None], words: str
) -> None:
    change(older, how)
    with pytest.raises(ExportError, match=words):
        calibrate_package(older, exported.unheard)
    assert [each.name for each in older.parent.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no discriminator that is told a class"),
        ({"discriminator": False}, "no discriminator that is told a class"),
        ({"conditional": True, "label_count": 65}, "has 65 classes; scores without a label judge 64 at most"),
    ],
)
def test_a_package_that_scores_without_a_label_or_never_can_is_refused(
    tmp_path: Path, options: Json, words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        calibrate_package(write_toy_package(tmp_path, **options), exported.unheard)


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no package that can be read"):
        calibrate_package(tmp_path, exported.unheard)
