"""What every experiment's command line has: how long, and where the results go."""

import argparse
from pathlib import Path
from typing import Final

from benchmarks.workplace import RESULTS, WORK

SHORT: Final = WORK / "quick"


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Begin an experiment's command line.

    Args:
        name: of the experiment.
        description: the module's own.
    """
    begun = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    begun.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    begun.add_argument("--out", type=Path, help=f"folder for the results; {RESULTS}, of a short round {SHORT}")
    return begun


def folder(asked: argparse.Namespace) -> Path:
    """Where the results go; those of a short round never over those of a whole run."""
    chosen: Path = asked.out or (SHORT if asked.quick else RESULTS)
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen
