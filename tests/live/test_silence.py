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
def test_the_service_looks_nobody_up_connects_to_nobody_and_leaves_no_mark_in_the_home(
    models_dir: Path, tmp_path: Path
) -> None:
    watched = {workers: isolated(models_dir, tmp_path / f"{workers}-workers", workers) for workers in (0, 2)}
    for workers, process in watched.items():  # side by side: each only waits
        output, errors = process.communicate()
        if "Operation not permitted" in errors:
            pytest.skip("needs the right to make a network namespace")
        assert process.returncode == 0, errors
        assert json.loads(output) == {"served": True, "asked": [], "met": []}, workers
        assert list((tmp_path / f"{workers}-workers" / "home").rglob("*")) == []


def isolated(models_dir: Path, folder: Path, workers: int) -> subprocess.Popen[str]:
    """Start the service in a network namespace of its own."""
    home = folder / "home"
    home.mkdir(parents=True)
    settings = {
        "GANYMEDE_MODELS_DIR": models_dir,
        "GANYMEDE_DEFAULT_MODEL": "toy",
        "GANYMEDE_LOAD_MODELS": "toy",
        "GANYMEDE_CACHE_DIR": folder / "cache",
        "GANYMEDE_API_WORKERS": workers,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.live.isolated", str(home), str(WATCHED_S)]
        + [f"{name}={value}" for name, value in settings.items()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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
