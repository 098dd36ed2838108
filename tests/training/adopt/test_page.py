"""The page about serving one's own GAN, followed from its first line to an image; and all refusals are on it."""

import ast
import re
import shlex
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.pages import ROOT, commands, fences, prose
from tests.support.serving import TIMEOUT_S, ServiceProcess
from training import cli

PAGE = ROOT / "docs/serve-your-own-gan.md"
RAISED = [
    pytest.param(node.exc, id=f"{path.stem}-{node.lineno}")
    for path in sorted((ROOT / "training/adopt").glob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) == "ExportError"
    if path.stem != "decisions"  # which reads the flags themselves
]


def without_figures(line: str) -> str:
    """A line of output with every number alike, since they depend on the weights and the machine."""
    return re.sub(r"-?\d[\d.e,+ -]*", "0", line)


def test_the_page_leads_from_a_module_and_from_a_file_to_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecations
        for program in fences(PAGE, "python"):
            exec(compile(program, str(PAGE), "exec"), session)  # noqa: S102 - the page's own programs
    capsys.readouterr()
    (words,) = [each.line for each in commands(PAGE) if each.line.endswith("adopt generator.onnx --name faces")]
    assert cli.main(shlex.split(words)[3:]) == 0
    (shown,) = fences(PAGE, "")
    printed = capsys.readouterr().out
    assert list(map(without_figures, printed.splitlines())) == list(map(without_figures, shown.splitlines()))
    with ServiceProcess(tmp_path / "models", default_model="faces").loaded() as process:
        asked = [each.line for each in commands(PAGE) if each.line.startswith("curl ")]
        for line in asked:
            command = shlex.split(line.replace("localhost:8000", f"127.0.0.1:{process.port}"))
            subprocess.run([*command, "--fail-with-body", "--noproxy", "*"], check=True, timeout=TIMEOUT_S)
        with process.client() as client:
            first, second = (
                client.post("/generate?format=npy", json={"version": version, "seed": 7}).content for version in (1, 2)
            )
    with Image.open("face.png") as image:
        assert image.size == (16, 16)
        assert np.asarray(image).std() > 5
    assert first == second  # of the module and of the file


@pytest.mark.parametrize("raised", RAISED)
def test_a_refusal_names_a_flag_or_is_explained_by_the_page(raised: ast.Call) -> None:
    (message,) = raised.args
    parts = message.values if isinstance(message, ast.JoinedStr) else [message]
    said = "…".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
    table = PAGE.read_text(encoding="utf-8").partition("## Refusals")[2]
    explained = re.findall(r'"([^"]+)"', "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    forwarded = re.search("[a-z]{4}", said) is None  # it has the words of another
    assert "--" in said or forwarded or any(words in said for words in explained), said


def test_the_page_names_only_flags_that_exist() -> None:
    (made,) = [each for each in cli.parser()._actions if each.choices is not None]  # argparse has no public way
    known = set(made.choices["adopt"]._option_string_actions)  # type: ignore[index]
    named = set(re.findall(r"`(?:[^`]* )?(--[a-z][a-z-]+)", prose(PAGE)))
    assert named <= known
