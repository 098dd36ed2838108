"""The `evaluate` command: a run and the package made of it have the same table."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training import exported, small
from training.errors import CheckpointError, ExportError
from training.measure import measure


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
    return exported.package(tmp_path_factory)


def table(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("|")]


def test_a_run_and_its_package_have_the_table_of_the_card(package: Path) -> None:
    of_run: list[str] = []
    measure(package.parents[2] / "run", of_run.append)
    status, of_package, errors = small.command("evaluate", package)
    assert (status, errors) == (0, "")
    assert table(of_run) == table(of_package.splitlines())
    assert "\n".join(table(of_run)) in (package / "card.md").read_text()


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
