"""Settings as an environment gives them: empty variables, what Kubernetes adds, and names that are none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings
from tests.support.serving import ROOT, ServiceProcess


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_variable_is_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"GANYMEDE_{name.upper()}", raising=False)
    default = getattr(Settings(), name)
    monkeypatch.setenv(f"GANYMEDE_{name.upper()}", "")
    assert getattr(Settings(), name) == default


def test_the_port_of_a_kubernetes_service_link_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANYMEDE_PORT", "tcp://10.0.0.1:8000")
    with pytest.raises(ValidationError, match=r"a Service called ganymede.*enableServiceLinks: false"):
        Settings()
    done = subprocess.run([sys.executable, "-m", "service"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("GANYMEDE_PORT='tcp://10.0.0.1:8000': ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("prefix", ["gan", "/gan/", "/", "//gan", "/a/../b", "/a?b", "/a b", "https://gan.example/a"])
def test_what_is_no_prefix_of_paths_is_refused(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANYMEDE_ROOT_PATH", "/gan/v1.5")
    assert Settings().root_path == "/gan/v1.5"
    monkeypatch.setenv("GANYMEDE_ROOT_PATH", prefix)
    with pytest.raises(ValidationError, match=r"no prefix of paths; write it as in /gan"):
        Settings()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_name_that_is_no_setting_is_warned_of_with_the_nearest(models_dir: Path, workers: int) -> None:
    with ServiceProcess(models_dir, api_workers=workers, max_batch_sample=3, load_models="toy") as process:
        line = process.wait_for("unknown setting", name="GANYMEDE_MAX_BATCH_SAMPLE")
        assert (line["nearest"], line["level"]) == ("GANYMEDE_MAX_BATCH_SAMPLES", "warning")
        process.loaded()
        assert len(process.lines(event="unknown setting")) == 1


@pytest.mark.parametrize("package", ["service", "training"])
def test_an_empty_variable_does_not_turn_reports_to_a_vendor_on(package: str) -> None:
    program = f"import os, {package}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    told = os.environ | {"ORT_DISABLE_TELEMETRY": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=told, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
