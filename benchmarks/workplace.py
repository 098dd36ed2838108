"""Folders of the harness, and the options that all experiments share.

benchmarks/results/     results, in git
benchmarks/.work/       not in git, by its own .gitignore
    models/             packages of the fixed generators
    peers/NAME/         one virtual environment a peer
    logs/               output of the servers
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

from training.command_line import Parser

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
WORK: Final = ROOT / "benchmarks" / ".work"
MODELS: Final = WORK / "models"
PEERS: Final = WORK / "peers"
LOGS: Final = WORK / "logs"
SHORT: Final = WORK / "quick"

T = TypeVar("T")


def prepare() -> None:
    """Make the folders, hidden from git."""
    for needed in (MODELS, PEERS, LOGS, RESULTS):
        needed.mkdir(parents=True, exist_ok=True)
    (WORK / ".gitignore").write_text("*\n", encoding="utf-8")


def parser(name: str, description: str | None, example: str = "--quick") -> Parser:
    """Make the argument parser of an experiment.

    Args:
        example: its arguments, as one would type them.
    """
    begun = command(name, description, example)
    begun.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    begun.add_argument("--out", type=Path, help=f"folder for the results; {RESULTS}, of a short round {SHORT}")
    return begun


def command(name: str, description: str | None, example: str) -> Parser:
    """Make the argument parser of a command that is no experiment."""
    return Parser(
        prog=f"python -m benchmarks {name}",
        description=description,
        epilog=f"example: %(prog)s {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def measured(parts: Iterable[T], what: str, total: int) -> list[T]:
    """Collect what an experiment measures, with a progress bar.

    Args:
        total: parts that it will have.
    """
    from training.progress import progress  # noqa: PLC0415 - needs tqdm, which stages on a lent machine may lack

    return list(progress(parts, what, total, "part"))


def folder(asked: argparse.Namespace) -> Path:
    """Folder of the results; a short round never overwrites the results of a whole run."""
    chosen: Path = asked.out or (SHORT if asked.quick else RESULTS)
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen
