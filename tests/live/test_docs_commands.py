"""Runs the requests of the documentation: each page's commands in order, with the shipped packages."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, TIMEOUT_MS, chromium
from tests.support.pages import PAGES, ROOT, commands, fences
from tests.support.serving import TIMEOUT_S, ServiceProcess
from tests.support.toy import write_toy_package

TYPED = ("curl ", "cmp ", "python examples/")
# tests/training/adopt/test_page.py follows that page, which publishes what it asks for.
ASKED = [page for page in PAGES if page.name != "serve-your-own-gan.md"]
ASKING = {page: [each.line for each in commands(page) if each.line.startswith(TYPED)] for page in ASKED}
SAMPLES = sorted(
    {
        found
        for page in PAGES
        for found in re.findall(r"/models/[a-z0-9_-]+/versions/\d+/samples/[\w.]+\?[\w=&]+", page.read_text())
    }
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service with its defaults, the shipped packages, and those that readers of the pages have trained by then."""
    folder = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(ROOT / "models", folder)
    for name in ("digits", "mine"):
        write_toy_package(folder, name)
    with ServiceProcess(folder, default_model="mnist") as process:
        yield process.loaded()


def run(command: list[str], folder: Path) -> str:
    """Run a command, which must end well; returns what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


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


# Each program in a namespace of its own, in one process: to import the clients takes longer than to ask.
EACH = "import sys\nfor text in sys.argv[1:]: exec(compile(text, 'page', 'exec'), {'__name__': '__main__'})"
# What a page asks for that would take a test half a minute.
MANY, FEW = "50_000", "3_000"


@pytest.mark.parametrize(
    "page", [page for page in ASKED if fences(page, "python")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_programs_of_a_page_run_as_they_stand_and_print_what_it_says(
    shipped: ServiceProcess, tmp_path: Path, page: Path
) -> None:
    pytest.importorskip("tritonclient.http")
    programs = [
        text.replace("localhost:8000", f"127.0.0.1:{shipped.port}").replace(MANY, FEW)
        for text in fences(page, "python")
    ]
    printed = run([sys.executable, "-c", EACH, *programs], tmp_path)
    for said in re.findall(r"^ *print\(.*\)  # (.*?)(?:, and .*)?$", "\n".join(programs), re.MULTILINE):
        assert said in printed


def scripts(page: Path, *, of_a_page: bool) -> list[str]:
    """The JavaScript of a documentation page that is for web pages, or that is for programs."""
    return [text for text in fences(page, "js") if ("document." in text) is of_a_page]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_a_javascript_program_of_the_pages_runs_as_it_stands(shipped: ServiceProcess, tmp_path: Path) -> None:
    programs = [script for page in PAGES for script in scripts(page, of_a_page=False)]
    assert programs
    for text in programs:
        program = text.replace("localhost:8000", f"127.0.0.1:{shipped.port}")
        assert re.fullmatch(r"7 \d{3}", run(["node", "--input-type=module", "-e", program], tmp_path).strip())


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_what_the_pages_show_of_a_web_page_works_in_a_browser(shipped: ServiceProcess) -> None:
    pytest.importorskip("playwright")
    service = f"http://127.0.0.1:{shipped.port}"
    (shown,) = [text for page in PAGES for text in fences(page, "html")]
    (script,) = [text for page in PAGES for text in scripts(page, of_a_page=True)]
    loaded = (
        "[...document.images].every((image) => image.complete && image.naturalWidth === 28) && document.images.length"
    )
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(shown.replace("http://localhost:8000", service))
        page.wait_for_function(f"() => {loaded} === 2", timeout=TIMEOUT_MS)
        # As the section about other origins says: this page is of another.
        for asked in ("", ", {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'}"):
            refused = page.evaluate(f"fetch('{service}/generate'{asked}).then(() => 'read', (error) => error.name)")
            assert refused == "TypeError"
        page.route("**/app.html", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{service}/app.html")
        page.evaluate(f"(async () => {{ {script} }})()")
        page.wait_for_function(f"() => {loaded} === 4", timeout=TIMEOUT_MS)
        assert str(page.evaluate("document.images[0].title")).startswith("seed 7, realness 0.")


@pytest.mark.skipif(shutil.which("openapi-typescript") is None, reason="openapi-typescript is not on PATH")
def test_types_for_typescript_are_made_of_the_document(shipped: ServiceProcess, tmp_path: Path) -> None:
    (line,) = [each.line for page in PAGES for each in commands(page) if each.line.startswith("npx ")]
    _, *words = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{shipped.port}"))
    run(words, tmp_path)
    (types,) = tmp_path.iterdir()
    assert "GenerateRequest: {" in types.read_text()


def test_the_package_that_the_format_page_writes_is_served(tmp_path: Path) -> None:
    (program,) = fences(ROOT / "models/README.md", "python")
    run([sys.executable, "-c", program], tmp_path)
    with ServiceProcess(tmp_path / "models", default_model="by-hand") as process, process.loaded().client() as client:
        first, again = (client.post("/generate?format=png", json={"seed": 7}) for _ in range(2))
        assert first.headers["content-type"] == "image/png"
        assert first.content == again.content
