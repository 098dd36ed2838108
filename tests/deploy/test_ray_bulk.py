"""The Ray Data job of deploy/ray goes on with what a process has begun, and leaves the files of that process alone."""

import os
import secrets
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from service.__main__ import main
from tests.support.pages import ROOT
from tests.support.toy import write_toy_package

pytestmark = [
    pytest.mark.skipif(None in (find_spec("ray"), find_spec("pyarrow")), reason="Ray Data is not installed"),
    pytest.mark.slow,
]
# A cluster of this machine starts in some ten processes.
PATIENCE_S: Final = 240.0
# Left out, Ray writes one to the home folder of the user.
TOKEN: Final = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
BEGINS: Final = ["--n", "600", "--shard-size", "50", "--format", "tar", "--seed", "3"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_job_draws_what_is_left_with_the_bytes_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy_package(tmp_path / "models", "toy", conditional=True, discriminator=False)
    for name, value in (("MODELS_DIR", "models"), ("CACHE_DIR", "cache")):
        monkeypatch.setenv(f"GANYMEDE_{name}", str(tmp_path / value))
    monkeypatch.setenv("GANYMEDE_DEFAULT_MODEL", "toy")
    assert main(["bulk", str(tmp_path / "alone"), *BEGINS]) == 0
    assert main(["bulk", str(tmp_path / "out"), *BEGINS, "--part", "1/4"]) == 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.ray.bulk", str(tmp_path / "out")],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **TOKEN},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "9 of 12 shards drawn now" in done.stdout
    assert tree(tmp_path / "out") == tree(tmp_path / "alone")
