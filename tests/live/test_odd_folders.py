"""Invalid folders among the packages are refused by name, and all others are served, at the start and later."""

import os
import shutil
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_toy_package(folder, "toy")
    return folder


def make_odd(models: Path, prefix: str) -> None:
    (models / f"{prefix}-loop").symlink_to(f"{prefix}-loop")
    (models / f"{prefix}-nowhere").symlink_to("gone")
    inner = models / f"{prefix}-inner"
    inner.mkdir()
    (inner / "1").symlink_to("1")
    (inner / "2").symlink_to("gone")
    (inner / "3").mkdir()
    (inner / "3" / "manifest.json").mkdir()
    (inner / "4").mkdir()
    os.mkfifo(inner / "4" / "manifest.json")
    Path(os.fsdecode(os.fsencode(models) + b"/" + prefix.encode() + b"-caf\xe9")).mkdir()


def hold_refused(process: ServiceProcess, client: httpx.Client, prefix: str) -> None:
    for name in ("loop", "nowhere", "inner/1", "inner/2", "inner/3", "inner/4"):
        assert process.wait_for("package refused", package=f"{prefix}-{name}")["reason"]
    index = {(entry["name"], entry["version"]): entry for entry in client.post("/v2/repository/index").json()}
    for version in "1234":
        assert index[f"{prefix}-inner", version]["reason"]
    assert "symbolic links" in index[f"{prefix}-inner", "1"]["reason"]


def test_odd_folders_are_refused_by_name_and_others_are_served_and_found(models: Path) -> None:
    make_odd(models, "first")
    with ServiceProcess(models, rescan_interval_s=0.2).loaded() as process, process.client() as client:
        assert client.post("/generate").status_code == 200
        hold_refused(process, client, "first")
        make_odd(models, "later")
        write_toy_package(models, "good")
        process.wait_for("package ready", package="good/1")
        assert client.post("/generate", json={"model": "good"}).status_code == 200
        hold_refused(process, client, "later")
        assert not process.lines(event="rescan failed; what is served stays")
        assert len(process.lines(event="package refused", package="first-loop")) == 1


@pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="needs setpriv, to do without root's right to read everything"
)
def test_folders_that_the_service_may_not_read_are_refused_by_name(models: Path) -> None:
    shut = write_toy_package(models, "shut")
    closed = write_toy_package(models, "closed").parent
    launcher = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    try:
        for folder in (shut, closed):
            folder.chmod(0)
        with ServiceProcess(models, launcher, rescan_interval_s=0.2).loaded() as process:
            assert "Permission denied" in str(process.wait_for("package refused", package="shut/1")["reason"])
            assert "Permission denied" in str(process.wait_for("package refused", package="closed")["reason"])
            with process.client() as client:
                assert client.post("/generate").status_code == 200
            write_toy_package(models, "good")
            process.wait_for("package ready", package="good/1")
    finally:
        for folder in (shut, closed):
            folder.chmod(0o755)
