"""The document is true: what it describes is what a fuzzer that believes it, or does the opposite, is answered.

Schemathesis reads /openapi.json and sends what the document allows, what it forbids, and chains of requests along its
links; every answer must be one that the document states, in status, media type, headers and schema, and none a fault.
A longer run is the same command with a larger `--max-examples`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import ServiceProcess

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 8  # of each operation and kind, beside every boundary that the document draws
FOUND_NOTHING = 0
# Small ones of every kind; to be unloaded by the fuzzer would end its run early.
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
