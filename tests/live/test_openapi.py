"""Responses conform to the OpenAPI document, for valid and invalid requests of a fuzzer.

Schemathesis reads /openapi.json and sends allowed and forbidden requests, and chains of requests along its links. Every
response must have a documented status, media type, headers and schema, and none may be a server error. A longer run is
the same command with a larger `--max-examples`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ServiceProcess

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 8  # of each operation and kind, in addition to all documented boundaries
FOUND_NOTHING = 0
# Small packages of every kind, which the fuzzer must not unload.
MODELS = "toy,classes,infogan,films,ring"


@pytest.mark.slow
def test_a_fuzzer_finds_no_fault_and_nothing_that_the_document_does_not_say(models_dir: Path, tmp_path: Path) -> None:
    with ServiceProcess(models_dir, load_models=MODELS, repository_control="nobody").loaded() as process:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                f"--config-file={CONFIG}",
                "run",
                f"http://127.0.0.1:{process.port}/openapi.json",
                f"--max-examples={EXAMPLES}",
                "--mode=all",
                "--seed=1",
                "--no-color",
                "--continue-on-failure",
                f"--report-dir={tmp_path}",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        faults = process.lines(event="request failed")
    assert done.returncode == FOUND_NOTHING, done.stdout[-8000:] + done.stderr[-2000:]
    assert faults == []
