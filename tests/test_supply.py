"""What `make sbom` writes is complete, pinned, and has licences; no pinned version has an advisory that is listed."""

import json
import os
import subprocess
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support import advisories
from tests.support.advisories import pins, plain

ROOT: Final = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """The parts by name."""
    path = os.environ.get("SBOM")
    if not path:
        pytest.skip("SBOM names no file; `make sbom` writes one, as CI does")
    document = json.loads(Path(path).read_bytes())
    assert document["bomFormat"] == "CycloneDX"
    return {plain(part["name"]): part for part in document["components"]}


def test_it_has_every_dependency_of_the_service(parts: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [Requirement(each) for each in project["dependencies"]]
    meant = {plain(each.name) for each in stated if each.marker is None or each.marker.evaluate()}
    assert meant <= parts.keys()


def test_each_part_has_its_pinned_version_and_a_package_url(parts: dict[str, Any]) -> None:
    pinned = pins()
    others = {
        name: part["version"] for name, part in parts.items() if name in pinned and part["version"] != pinned[name]
    }
    assert {name: each for name, each in others.items() if name != "torch"} == {}  # whose build has a suffix
    assert all(part["purl"].startswith("pkg:pypi/") for part in parts.values())


def test_the_licence_of_nearly_every_part_is_known(parts: dict[str, Any]) -> None:
    without = sorted(name for name, part in parts.items() if not part.get("licenses"))
    assert len(without) <= len(parts) // 20, without


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    """The committed list of advisories."""
    found: dict[str, Any] = json.loads(advisories.FILE.read_bytes())
    return found


def test_no_pinned_version_has_an_advisory_of_the_list(listed: dict[str, Any]) -> None:
    assert advisories.found(pins(), listed["advisories"]) == []


def test_the_list_was_asked_about_every_pinned_package_and_has_its_date(listed: dict[str, Any]) -> None:
    assert sorted(pins().keys() - set(listed["asked"])) == []
    assert date.fromisoformat(listed["date"]) > date(2024, 1, 1)


@pytest.mark.parametrize(("version", "is_affected"), [("9.5.0", True), ("10.0.0", True), ("10.0.1", False)])
def test_a_version_with_a_known_fault_is_found(version: str, is_affected: bool, listed: dict[str, Any]) -> None:
    assert (
        "pillow " + version + ": PYSEC-2023-175" in advisories.found({"pillow": version}, listed["advisories"])
    ) is (is_affected)


@pytest.mark.parametrize(
    ("events", "affected"),
    [
        ([{"introduced": "0"}, {"fixed": "1.2"}], ["0.1", "1.1"]),
        ([{"introduced": "1.1"}, {"last_affected": "1.2"}], ["1.1", "1.2"]),
        ([{"introduced": "1.3"}], ["1.3", "2.0"]),
        ([{"introduced": "0"}, {"fixed": "1.1"}, {"introduced": "1.3"}, {"fixed": "1.4"}], ["0.1", "1.3"]),
    ],
)
def test_ranges_of_the_database_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, str]], affected: list[str]
) -> None:
    monkeypatch.setattr(advisories, "pins", lambda: {"thing": "1.0"})
    (tmp_path / "vulns" / "thing").mkdir(parents=True)
    written = {
        "id": "PYSEC-1",
        "affected": [{"package": {"name": "Thing"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
    }
    (tmp_path / "vulns" / "thing" / "PYSEC-1.yaml").write_text(yaml.safe_dump(written))
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (one,) = advisories.read(tmp_path)["advisories"]
    versions = ["0.1", "1.1", "1.2", "1.3", "2.0"]
    assert [version for version in versions if advisories.is_affected(version, one)] == affected
