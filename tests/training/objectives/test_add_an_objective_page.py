"""docs/add-an-objective.md: its blocks, applied to a copy of the tree, make an objective that trains."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import FENCE, ROOT

TEXT = (ROOT / "docs/add-an-objective.md").read_text(encoding="utf-8")
FILES = re.findall(r"^\*\*([\w/.-]+)\*\*\n\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COPIED = ("training", "tests/support", "tests/training/objectives", "models/manifest.schema.json")
TIMEOUT_S = 200
SHORTER = {"total_samples = 256_000": "total_samples = 6_400", "every_samples = 32_000": "every_samples = 6_400"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the page's files and differences."""
    copy = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name, text in FILES:
        assert not (copy / name).exists(), f"{name} is there already: the page needs another example"
        (copy / name).write_text(text, encoding="utf-8")
    for language, text in FENCE.findall(TEXT):
        if language == "diff":
            run(["git", "apply", "--verbose", "-"], copy, text)
    config = copy / "training/configs/boundary-ring.toml"
    quick = config.read_text(encoding="utf-8")
    for full, short in SHORTER.items():
        assert full in quick
        quick = quick.replace(full, short)
    config.write_text(quick, encoding="utf-8")
    return copy


def run(words: list[str], folder: Path, given: str | None = None) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "OMP_NUM_THREADS": "1",  # the networks are tiny: a second thread waits more than it computes
    }
    done = subprocess.run(
        words, cwd=folder, input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_the_page_makes_an_objective_that_is_tested_and_trains(tree: Path) -> None:
    typed = [line for language, text in FENCE.findall(TEXT) if language == "shell" for line in text.splitlines()]
    for line in typed:
        words = shlex.split(line)
        target = words[words.index(">") + 1 :] if ">" in words else []
        command = words[1 : words.index(">")] if target else words[1:]
        printed = run([sys.executable, *command], tree)
        if target:
            (tree / target[0]).write_text(printed, encoding="utf-8")
    assert '"boundary_seeking"' in (tree / "training/configs/schema.json").read_text(encoding="utf-8")
    assert (tree / "runs/boundary/report.html").is_file()


@pytest.mark.slow
def test_the_identity_of_the_page_holds(tree: Path) -> None:
    program = (
        "from training.verification.optima import verify_optima\n"
        "print([(each.identity, each.holds) for each in verify_optima() if 'boundary' in each.identity])"
    )
    assert run([sys.executable, "-c", program], tree).endswith('E_q (log p/q)^2 / 2", True)]\n')
