"""The documentation is true: links lead somewhere, commands can be typed, generated pages are those of the code.

Commands that need a running service are run by `tests/live/test_docs_commands.py`. The others are told apart by their
first words, in `CHECKS`; a command that is in none of its rows fails, so that each is either tried or has its reason.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.app import create_app
from service.settings import Settings, reference
from tests.support.pages import PAGES, ROOT, Command, anchors, commands, prose

LINKS = [
    (page, target)
    for page in PAGES
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page))
    if not target.startswith(("http://", "https://"))
]
# The changelog tells of files that are gone.
PAGES_OF_TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]
FOLDERS = ("service/", "training/", "models/", "benchmarks/", "tests/", "deploy/", "examples/", "docs/")
PLANNED = {"training/loop/", "training/export/"}
WORDS_OF_REGISTRIES = ("pypi", "pythonhosted", "conda.org", "npmjs", "docker.io", "ghcr.io")


# Starts a program, and ends it well as soon as it has understood its arguments.
PARSE = """
import argparse, runpy, sys
parse = argparse.ArgumentParser.parse_args
def once(*given):
    parsed = parse(*given)
    return parsed if "arguments" in parsed else sys.exit(0)  # of benchmarks: the command parses them next
argparse.ArgumentParser.parse_args = once
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def ends_well(words: list[str]) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def parses(words: list[str]) -> None:
    """The program understands its arguments; it does not act on them."""
    ends_well([sys.executable, "-c", PARSE, *(words[words.index("-m") + 1 :] if "-m" in words else words)])


def is_a_target(words: list[str]) -> None:
    """`make` finds the target."""
    ends_well(["make", "--dry-run", *words[1:]])


def runs(words: list[str]) -> None:
    """The command ends well."""
    ends_well([sys.executable, *words[1:]])


def is_run_elsewhere(words: list[str]) -> None:
    """Not here, for the reason beside it."""


Check = Callable[[list[str]], None]
CHECKS: dict[str, tuple[Check, str]] = {
    "curl": (is_run_elsewhere, "tests/live/test_docs_commands.py"),
    "cmp": (is_run_elsewhere, "tests/live/test_docs_commands.py"),
    "python examples/": (is_run_elsewhere, "tests/live/test_docs_commands.py"),
    "npx openapi-typescript": (is_run_elsewhere, "tests/live/test_docs_commands.py, where the program can be had"),
    "perf_analyzer": (is_run_elsewhere, "tests/live/test_triton_clients.py, where the program can be had"),
    "kubectl": (is_run_elsewhere, "another project's program, which asks a cluster"),
    "helm install": (is_run_elsewhere, "tests/deploy/test_chart.py, up to what a cluster would be asked"),
    "helm test": (is_run_elsewhere, "tests/deploy/test_chart.py runs the pod's program without a cluster"),
    "serve run": (is_run_elsewhere, "tests/deploy/test_ray.py, where Ray is installed"),
    "pip install": (is_run_elsewhere, "changes the reader's environment"),
    "docker compose": (is_run_elsewhere, "tests/live/test_containers.py, where a Docker engine answers"),
    "tensorboard": (is_run_elsewhere, "another project's server, that does not end"),
    ". .venv/bin/activate": (is_run_elsewhere, "changes the reader's shell"),
    "make": (is_a_target, "what it runs is CI itself"),
    "torchrun": (parses, "tests/training/loop/test_run.py trains with two processes"),
    "python -c": (runs, "takes a second"),
    "python -m tests.support.screenshots": (
        parses,
        "needs a browser; tests/live/test_playground.py drives the same page",
    ),
    "python -m tf2onnx": (is_run_elsewhere, "another project's program, which this one does not need"),
    "python -m service": (parses, "a server that does not end"),
    "nice python -m training": (parses, "tests/training/test_own_images.py runs it with a smaller configuration"),
    "cp runs/": (is_run_elsewhere, "tests/training/test_own_images.py"),
    "python -m training": (parses, "takes from seconds to hours; tests/training runs each command"),
    "ganymede": (parses, "the commands of training and service"),
    "python -m benchmarks": (parses, "takes minutes, on a quiet machine"),
}


def check_of(line: str) -> Check:
    found = [check for words, (check, _) in CHECKS.items() if line.startswith(words)]
    assert found, "say in CHECKS how this command is tried, or why not"
    return found[0]


@pytest.mark.parametrize(
    ("page", "target"), [pytest.param(*link, id=f"{link[0].relative_to(ROOT)}-{link[1]}") for link in LINKS]
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    found = (page.parent / name).resolve() if name else page
    assert found.exists()
    assert ROOT in (found, *found.parents)
    if anchor and found.suffix == ".md":
        assert anchor in anchors(found)


@pytest.mark.parametrize("page", PAGES_OF_TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_files_and_folders_that_exist(page: Path) -> None:
    named = set(re.findall(r"`((?:\w[\w-]*/)+[\w.-]*)`", prose(page)))
    meant = {name for name in named - PLANNED if name.startswith(FOLDERS) and "NAME" not in name}
    assert [name for name in sorted(meant) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_points_at_a_package_registry(page: Path) -> None:
    assert [word for word in WORDS_OF_REGISTRIES if word in page.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("command", [each for page in PAGES for each in commands(page)], ids=str)
def test_a_command_can_be_typed(command: Command) -> None:
    check_of(command.line)(shlex.split(command.line, comments=True))


def test_the_page_of_settings_is_that_of_the_code() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == "\n".join(reference()) + "\n", "python -m service settings > docs/configuration.md"


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return create_app(Settings(), CollectorRegistry()).openapi()


def test_every_endpoint_has_its_place(openapi: dict[str, Any]) -> None:
    pages = [
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("http-api.md", "open-inference-protocol.md")
    ]
    asked = {path for page in pages for path in re.findall(r"(?<=[ `])/[\w./-]*", page)}
    for path in openapi["paths"]:
        plain = path.replace("/versions/{version}", "") if path.startswith("/v2") else path
        assert re.sub(r"{(\w+)}", lambda name: name[1].upper(), plain) in asked, path


@pytest.mark.parametrize(
    "schema",
    [
        "GenerateRequest", "BestOf", "Rejection", "MetropolisHastings", "Interpolate", "SamplesRequest",
        "GeneratedSample", "Score", "Encoding", "CategoricalReading", "Reconstruction", "ProblemDetails",
    ],
)  # fmt: skip
def test_every_field_is_described(openapi: dict[str, Any], schema: str) -> None:
    page = (ROOT / "docs/http-api.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"`+[^`]+`+", page))
    assert [
        name for name in openapi["components"]["schemas"][schema]["properties"] if not re.search(rf"\b{name}\b", code)
    ] == []


def test_refusals_are_explained_in_the_words_that_they_have() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition("## Why a request was refused")[2].partition("\n## ")[0]
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "service").rglob("*.py")))
    quoted = re.findall(r'^\| \d{3}, "([^"]+)"', section, re.MULTILINE)
    assert len(quoted) > 5
    assert [words for words in quoted if words not in source] == []


def test_the_readme_is_short_and_its_figures_stand_in_the_pages_that_it_links() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 200
    table = readme.partition("## Six numbers")[2].partition("\n## ")[0]
    rows = [line.split("|")[2:4] for line in table.splitlines() if line.startswith("| ")]
    checked = 0
    for figures, source in rows[2:]:
        (target,) = re.findall(r"\]\(([^)#]+)", source)
        page = (ROOT / target).read_text(encoding="utf-8")
        for figure in re.findall(r"\d+\.\d+|\d,\d{3}", figures):
            assert figure in page, f"{figure} is not in {target}"
            checked += 1
    assert checked > 10


def test_the_architecture_fits_a_few_screens() -> None:
    assert len((ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines()) <= 150
