"""What the README tells a newcomer to type, typed: every curl, and every address of a sample, at the packages here."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import ROOT, TIMEOUT_S, ServiceProcess

README = (ROOT / "README.md").read_text()
COMMANDS = [line for line in README.splitlines() if line.startswith("curl ")]
SAMPLES = sorted(set(re.findall(r"/models/[a-z0-9_-]+/versions/\d+/samples/[\w.]+\?[\w=&]+", README)))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service as it comes, with the package that it comes with."""
    cache_dir = tmp_path_factory.mktemp("cache")
    with ServiceProcess(
        ROOT / "models", default_model="mnist", load_models="mnist", cache_dir=str(cache_dir)
    ) as process:
        yield process.loaded()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_every_curl_of_the_readme_works_as_it_stands(shipped: ServiceProcess, tmp_path: Path) -> None:
    assert len(COMMANDS) >= 9
    for command in COMMANDS:
        here = command.replace("localhost:8000", f"127.0.0.1:{shipped.port}")
        run = subprocess.run(
            [*shlex.split(here, comments=True), "--fail-with-body", "--noproxy", "*"],
            cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert run.returncode == 0, (command, run.stdout, run.stderr)
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r"-o (\S+)", "\n".join(COMMANDS)))


def test_every_address_of_a_sample_in_the_readme_is_one(shipped: ServiceProcess) -> None:
    assert SAMPLES
    with shipped.client() as client:
        for address in SAMPLES:
            answer = client.get(address, follow_redirects=True)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), address
