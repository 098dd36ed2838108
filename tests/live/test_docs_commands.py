"""Runs the requests of the documentation: each page's commands in order, with the shipped packages."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, commands, fences
from tests.support.serving import TIMEOUT_S, ServiceProcess

TYPED = ("curl ", "cmp ", "python examples/")
ASKING = {page: [each.line for each in commands(page) if each.line.startswith(TYPED)] for page in PAGES}
SAMPLES = sorted(
    {
        found
        for page in PAGES
        for found in re.findall(r"/models/[a-z0-9_-]+/versions/\d+/samples/[\w.]+\?[\w=&]+", page.read_text())
    }
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service with its defaults and the shipped packages."""
    cache_dir = tmp_path_factory.mktemp("cache")
    with ServiceProcess(ROOT / "models", default_model="mnist", cache_dir=str(cache_dir)) as process:
        yield process.loaded()


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_the_pages_show_how_to_ask() -> None:
    assert len([line for lines in ASKING.values() for line in lines if line.startswith("curl ")]) >= 20
    assert len([line for line in ASKING[ROOT / "README.md"] if line.startswith("curl ")]) == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
@pytest.mark.parametrize(
    "page", [page for page, lines in ASKING.items() if lines], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_request_of_a_page_works_as_it_stands(shipped: ServiceProcess, tmp_path: Path, page: Path) -> None:
    for line in ASKING[page]:
        program, *words = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{shipped.port}"), comments=True)
        match program:
            case "curl":
                run(["curl", *words, "--fail-with-body", "--noproxy", "*"], tmp_path)
            case "python":
                run([sys.executable, str(ROOT / words[0]), f"127.0.0.1:{shipped.port}", *words[1:]], tmp_path)
            case _:
                run([program, *words], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r"-o (\S+)", "\n".join(ASKING[page])))


def test_the_readme_shows_what_score_answers(shipped: ServiceProcess) -> None:
    shown = re.findall(r'`"(\w+)": ([\d.]+)`', (ROOT / "README.md").read_text())
    assert [name for name, _ in shown] == ["label", "label_probability", "probability"]
    with shipped.client() as client:
        seven = client.post("/generate?format=png", json={"seed": 7, "label": 7}).content
        (score,) = client.post("/score", content=seven, headers={"content-type": "image/png"}).json()["scores"]
    for name, figure in shown:
        assert score[name] == pytest.approx(float(figure), abs=6e-4)


def test_every_address_of_a_sample_in_the_pages_is_one(shipped: ServiceProcess) -> None:
    assert SAMPLES
    with shipped.client() as client:
        for address in SAMPLES:
            answer = client.get(address, follow_redirects=True)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), address


@pytest.mark.parametrize(
    "program",
    [pytest.param(text, id=str(page.relative_to(ROOT))) for page in PAGES for text in fences(page, "python")],
)
def test_a_program_of_the_pages_runs_as_it_stands(shipped: ServiceProcess, tmp_path: Path, program: str) -> None:
    pytest.importorskip("tritonclient.http")
    run([sys.executable, "-c", program.replace("localhost:8000", f"127.0.0.1:{shipped.port}")], tmp_path)


def test_the_package_that_the_format_page_writes_is_served(tmp_path: Path) -> None:
    (program,) = fences(ROOT / "models/README.md", "python")
    run([sys.executable, "-c", program], tmp_path)
    with ServiceProcess(tmp_path / "models", default_model="by-hand") as process, process.loaded().client() as client:
        first, again = (client.post("/generate?format=png", json={"seed": 7}) for _ in range(2))
        assert first.headers["content-type"] == "image/png"
        assert first.content == again.content
