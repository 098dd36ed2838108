"""Every command of every program: help with an example, mistakes in one sentence, JSON, signals, pipes, completion."""

import argparse
import contextlib
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import training
from service import __main__ as service
from service import __version__
from tests.support import small
from tests.support.commands import PROGRAMS, has_json, subparsers, table
from tests.support.pages import ROOT
from tests.support.toy import write_toy_package
from training import command_line
from training.cli import main
from training.command_line import Parser

COMMANDS = [
    pytest.param(each, id=f"{program} {name}")
    for program, parser in PROGRAMS.items()
    for name, each in subparsers(parser()).items()
]
PAGE = ROOT / "docs/command-line.md"


def answer(run: Callable[[], object]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a call that may end the process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            code = run()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int | None)
    return code or 0, out.getvalue(), errors.getvalue()


@pytest.mark.parametrize("parser", COMMANDS)
def test_help_of_a_command_has_an_example_that_can_be_typed(parser: argparse.ArgumentParser) -> None:
    code, shown, errors = answer(lambda: parser.parse_args(["--help"]))
    assert (code, errors) == (0, "")
    (example,) = re.findall(rf"^example: {re.escape(parser.prog)} ?(.*)$", shown, re.MULTILINE)
    assert answer(lambda: parser.parse_args(shlex.split(example.partition(">")[0])) and None) == (0, "", "")


@pytest.mark.parametrize("parser", COMMANDS)
def test_an_unknown_option_is_one_sentence_on_stderr(parser: argparse.ArgumentParser) -> None:
    needed = [action.metavar or "x" for action in parser._actions if not action.option_strings]
    code, shown, errors = answer(lambda: parser.parse_args([*map(str, needed), "--no-such"]))
    assert (code, shown, errors.count("\n")) == (2, "", 1)
    assert f"`{parser.prog} --help`" in errors


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_misspelt_command_is_answered_with_the_nearest(program: str) -> None:
    parser = PROGRAMS[program]()
    words = list(subparsers(parser)) or ["serving"]
    code, shown, errors = answer(lambda: parser.parse_args([words[0][:-1] + "z"]))
    assert (code, shown) == (2, "")
    assert f'did you mean "{words[0]}"?' in errors


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_states_its_version(program: str) -> None:
    assert answer(lambda: PROGRAMS[program]().parse_args(["--version"])) == (0, f"ganymede {__version__}\n", "")
    assert training.__version__ == __version__


@pytest.mark.parametrize("program", ["python -m training", "python -m service", "ganymede"])
@pytest.mark.parametrize("columns", [50, 80, 200])
def test_help_fits_the_terminal(program: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, shown, _ = answer(lambda: PROGRAMS[program]().parse_args(["--help"]))
    too_long = [line for line in shown.splitlines() if len(line) > columns]
    # What one types is not folded.
    assert all(line.startswith(("  python", "  ganymede", "  GANYMEDE", "example")) for line in too_long), too_long


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of seconds, and what `train --json` printed of it."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "run.toml").write_text(small.text(trainer={"total_samples": 160}))
    code, shown, errors = small.command("train", folder / "run.toml", "--out", folder / "run", "--json")
    assert code == 0, errors
    assert "digits: 1,541 samples" in errors
    return folder / "run", shown


def test_train_prints_its_outcome_as_one_document(trained: tuple[Path, str]) -> None:
    run, shown = trained
    found = json.loads(shown)
    assert (found["run"], found["samples"], found["report"]) == (str(run), 160, str(run / "report.html"))
    assert "unfinished" not in found["findings"]


@pytest.mark.parametrize(
    "words",
    [
        ["report", "RUN"],
        ["data", "digits"],
        ["keys"],
        ["keys", "trainer"],
        ["reproduce", "--list"],
    ],
    ids=" ".join,
)
def test_json_is_all_that_is_on_stdout(
    words: list[str], trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(trained[0]) if word == "RUN" else word for word in words] + ["--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_every_command_that_has_json_says_what_it_prints() -> None:
    told = [has_json(each) for each in subparsers(PROGRAMS["python -m training"]()).values()]
    assert all(told)


def test_a_package_is_checked_without_serving_it(tmp_path: Path) -> None:
    good, bad = write_toy_package(tmp_path, "toy", 1), write_toy_package(tmp_path, "toy", 2)
    graph = bytearray((bad / "generator.onnx").read_bytes())
    graph[200] ^= 1
    (bad / "generator.onnx").write_bytes(graph)
    code, shown, errors = answer(lambda: service.main(["check", str(good), str(bad), "--json"]))
    found = json.loads(shown)
    assert (code, errors) == (1, "")
    assert [entry["ready"] for entry in found] == [True, False]
    assert found[0]["graphs"]["generator"]["reproducible"]
    assert "generator.onnx" in found[1]["reason"]
    code, shown, _ = answer(lambda: service.main(["check", str(good)]))
    assert code == 0
    assert "golden vectors: reproduced within" in shown
    code, shown, errors = answer(lambda: service.main(["check", str(tmp_path)]))
    assert (code, shown, errors.count("\n")) == (2, "", 1)


def test_ctrl_c_ends_a_command_with_one_line(tmp_path: Path) -> None:
    waiting = tmp_path / "generator.onnx"
    os.mkfifo(waiting)
    process = small.launch("adopt", waiting, "--name", "x")
    with waiting.open("wb"):  # opened once the command reads it
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=60)
    assert (process.returncode, shown, errors) == (130, "", "stopped\n")


@pytest.mark.parametrize(
    "words", [["training", "keys"], ["service", "settings"], ["benchmarks", "--help"]], ids=" ".join
)
def test_a_closed_pipe_is_no_error(words: list[str]) -> None:
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=written, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(written)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    ids=["neither", "FORCE_COLOR", "both"],
)
def test_colours_are_as_the_environment_asks(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["keys", "trainr"]) == 2
    assert ("\x1b[31m" in capsys.readouterr().err) is coloured


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    master, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        assert command_line.coloured("x", "green", stream) == "\x1b[32mx\x1b[0m"
    os.close(master)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Completes a line in bash, in a folder with a run and a package."""
    folder = tmp_path_factory.mktemp("shell")
    for file in ("runs/first/config.toml", "models/toy/1/manifest.json"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text("")
    program = folder / "bin" / "ganymede"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom ganymede.__main__ import main\nmain()\n")
    program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        script = (
            'eval "$(register-python-argcomplete ganymede)"\n'
            f"COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_TYPE=9 COMP_CWORD={len(words) - 1}\n"
            f"_python_argcomplete ganymede {shlex.quote(words[-1])} {words[-2]}\n"
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return [word.strip() for word in done.stdout.splitlines()]

    return complete


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("ganymede dia", ["diagnose"]),
        ("ganymede train r3gan-fol", ["r3gan-folder"]),
        ("ganymede diagnose ru", ["runs/first"]),
        ("ganymede check mod", ["models/toy/1"]),
        ("ganymede keys trai", ["trainer"]),
    ],
)
def test_bash_completes(line: str, completed: list[str], shell: Callable[[str], list[str]]) -> None:
    assert shell(line) == completed


def test_the_page_has_the_commands_of_the_parsers() -> None:
    shown = PAGE.read_text(encoding="utf-8").partition("<!-- commands -->\n")[2].partition("<!-- /commands -->")[0]
    assert shown == "".join(f"{line}\n" for line in table()), "python -m tests.support.commands prints the table"


def test_an_extra_that_is_missing_is_named() -> None:
    def lacks(_: argparse.Namespace) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    parser = Parser(prog="x")
    parser.set_defaults(command=lacks, json=False)
    code, _, errors = answer(lambda: command_line.main(parser, []))
    assert (code, errors) == (
        2,
        "this needs torch; install the extra for training: pip install 'ganymede-gan[train]'\n",
    )
