"""The list of parts that `make sbom` writes: complete, pinned, and with licences."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]


def plain(name: str) -> str:
    """A package's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


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
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {plain(name): version for name, version in pins.items()}
    others = {
        name: part["version"] for name, part in parts.items() if name in pinned and part["version"] != pinned[name]
    }
    assert {name: each for name, each in others.items() if name != "torch"} == {}  # whose build has a suffix
    assert all(part["purl"].startswith("pkg:pypi/") for part in parts.values())


def test_the_licence_of_nearly_every_part_is_known(parts: dict[str, Any]) -> None:
    without = sorted(name for name, part in parts.items() if not part.get("licenses"))
    assert len(without) <= len(parts) // 20, without
