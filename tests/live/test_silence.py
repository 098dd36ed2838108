"""The service and the trainer contact no other host."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ROOT

# ONNX Runtime's telemetry looked its vendor's host up nine seconds after the start.
WATCHED_S = 15


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to make a network namespace")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_service_looks_nobody_up_connects_to_nobody_and_leaves_no_mark_in_the_home(
    models_dir: Path, tmp_path: Path, workers: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = {
        "GANYMEDE_MODELS_DIR": models_dir,
        "GANYMEDE_DEFAULT_MODEL": "toy",
        "GANYMEDE_LOAD_MODELS": "toy",
        "GANYMEDE_CACHE_DIR": tmp_path / "cache",
        "GANYMEDE_API_WORKERS": workers,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.isolated", str(home), str(WATCHED_S)]
        + [f"{name}={value}" for name, value in settings.items()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs the right to make a network namespace")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"served": True, "asked": [], "met": []}
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("module", ["service.settings", "training.errors", "benchmarks.__main__"])
def test_every_program_of_the_project_has_the_runtimes_reports_off_before_it_can_import_it(module: str) -> None:
    program = f"import os, sys; import {module}; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


def test_an_operator_may_want_the_reports() -> None:
    program = "import os; import service; assert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "ORT_DISABLE_TELEMETRY": "0"}, check=True
    )
