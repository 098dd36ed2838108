"""The packages of `models/`: what a clone of the project carries, and what each of them tells of itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(__file__).parents[2] / "models"
PACKAGES = sorted(MODELS.glob("*/*/"))
MEBIBYTE = 1 << 20
ALL_BYTES = 25 * MEBIBYTE
ONE_BYTES = 10 * MEBIBYTE
BEFORE_DIAGNOSES = {"mnist", "planted-items"}  # their cards were written before cards had them
FAMILY = {
    "mnist",
    "dcgan-mnist",
    "wgan-gp-mnist",
    "fgan-mnist",
    "infogan-mnist",
    "bigan-mnist",
    "planted-items",
    "ring",
}


def manifest(package: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((package / "manifest.json").read_bytes())
    return content


def size(package: Path) -> int:
    return sum(path.stat().st_size for path in package.iterdir())


def test_one_version_of_each_system_is_shipped() -> None:
    assert sorted(package.parent.name for package in PACKAGES) == sorted(FAMILY)


def test_a_clone_stays_small() -> None:
    assert {package.parent.name: size(package) for package in PACKAGES if size(package) > ONE_BYTES} == {}
    assert sum(map(size, PACKAGES)) <= ALL_BYTES


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.parent.name)
def test_a_shipped_package_has_everything_that_a_package_can_have(package: Path) -> None:
    stated, name = manifest(package), package.parent.name
    files = {path.name for path in package.iterdir()}
    assert {"card.md", "golden.npz", "generator.onnx", "discriminator.onnx"} <= files
    assert ("preview.png" in files) == (stated["sample"]["kind"] != "item")
    assert ("encoder.onnx" in files) == (name in {"infogan-mnist", "bigan-mnist"})
    assert ("reference.npy" in files) == (stated["sample"]["kind"] == "vector")
    assert {"calibration", "reference_quantiles"} <= stated["discriminator"].keys()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.parent.name)
def test_a_shipped_package_says_where_it_comes_from_and_who_may_use_it(package: Path) -> None:
    stated = manifest(package)
    provenance, card = stated["provenance"], (package / "card.md").read_text()
    assert len(provenance["commit"]) == len("62cf48d2b5d381259a2a1bd96692cdd10c9e8236"), "made of code that is kept"
    assert provenance["samples_seen"] >= provenance["config"]["trainer"]["total_samples"], "the whole run"
    assert f"License of these weights: {stated['license']}" in card
    assert stated["license"].startswith("CC-BY-SA-3.0" if provenance["data"]["name"] == "mnist" else "CC0-1.0")
    assert ("## Diagnosis\n" in card) == (package.parent.name not in BEFORE_DIAGNOSES)


def told_of(package: Path) -> list[str]:
    """The columns of a package's row that its files decide: size, distance, samples seen, diagnosis."""
    stated, card = manifest(package), (package / "card.md").read_text()
    figures = stated["provenance"]["metrics"].get("images", {}).get("generated", {})
    diagnosis = card.partition("## Diagnosis\n")[2].partition("\n## ")[0]
    return [
        f"{size(package) / MEBIBYTE:.1f} MiB",
        f"{figures['frechet_distance']:.1f}" if figures else "–",
        f"{stated['provenance']['samples_seen']:,}",
        ", ".join(re.findall(r"^- \*(\w+)\*: ", diagnosis, re.MULTILINE)) or "–",
    ]


def test_the_page_of_packages_has_a_row_for_each_with_the_figures_of_its_files() -> None:
    page = (MODELS / "README.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| \[`.*$", page, re.MULTILINE)]
    told = {re.findall(r"`([\w-]+)`", row[0])[0]: row[-5:-1] for row in rows}
    assert told == {package.parent.name: told_of(package) for package in PACKAGES}
