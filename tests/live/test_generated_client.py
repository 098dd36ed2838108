"""A client generated from the OpenAPI document is type-checked with a program that uses it, and run.

The generator is openapi-python-client; a warning would mean a part of the document without a typed function.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess

# The generator needs a media type for files; everything else comes from the document.
FILES = ("image/png", "image/jpeg", "image/webp", "application/x-npy", "application/zip")
CONFIG = {
    "content_type_overrides": dict.fromkeys(FILES, "application/octet-stream"),
    "post_hooks": [],
}
PACKAGE = "ganymede_client"
PROGRAM = """
import sys
from ganymede_client import Client
from ganymede_client.api.models import get_model, get_version, list_models
from ganymede_client.api.samples import generate, get_sample, score
from ganymede_client.models import GenerateAnswer, GenerateRequest, Model, ModelList, ProblemDetails, SamplesRequest
from ganymede_client.models import GetSampleForm, ScoreAnswer, VersionDetails
from ganymede_client.types import File

with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:
    models = list_models.sync(client=client)
    assert isinstance(models, ModelList)
    assert "toy" in [model.name for model in models.models]

    model = get_model.sync("toy", client=client)
    assert isinstance(model, Model)
    assert model.default

    drawn = generate.sync(client=client, body=GenerateRequest(model="toy", n=3, seed=7, scores=True))
    assert isinstance(drawn, GenerateAnswer), drawn
    assert [sample.seed for sample in drawn.samples] == [7, 8, 9]
    images = [sample.image for sample in drawn.samples if isinstance(sample.image, str)]

    judged = score.sync(client=client, body=SamplesRequest(model="toy", images=images))
    assert isinstance(judged, ScoreAnswer)
    assert [each.probability for each in judged.scores] == [sample.realness for sample in drawn.samples]

    details = get_version.sync(drawn.model, drawn.version, client=client)
    assert isinstance(details, VersionDetails)
    assert isinstance(details.stack, str)
    file = get_sample.sync(drawn.model, drawn.version, 7, GetSampleForm.PNG, client=client, stack=details.stack)
    assert isinstance(file, File)
    assert file.payload.read(4) == bytes([137]) + b"PNG"

    refused = generate.sync(client=client, body=GenerateRequest(model="nobody"))
    assert isinstance(refused, ProblemDetails)
    assert refused.status == 404
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a tool of this interpreter's environment; returns its output."""
    tools = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_typed_client_is_generated_from_the_document_and_works(
    service: ServiceProcess, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(client.get("/openapi.json").text)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "program.py").write_text(PROGRAM)
    generated = tmp_path / PACKAGE
    run(
        "openapi-python-client", "generate", "--path=openapi.json", "--config=config.json",
        "--meta=none", f"--output-path={generated}", "--fail-on-warning", cwd=tmp_path,
    )  # fmt: skip
    # The generator's casts are sometimes redundant; everything else is checked strictly.
    run("mypy", "--strict", "--no-warn-redundant-casts", f"--cache-dir={tmp_path}", "program.py", cwd=tmp_path)
    run(sys.executable, "program.py", f"http://127.0.0.1:{service.port}", cwd=tmp_path)
