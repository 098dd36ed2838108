"""All experiments one after the other, and then the report: what `make bench` runs.

Each is a process of its own, so that none inherits another's memory or threads, and one that fails stops none.
"""

import argparse
import subprocess
import sys
from typing import Final

from benchmarks.workplace import ROOT

EXPERIMENTS: Final = ("serving", "idle", "overhead", "burst", "overload", "start", "workers", "cuda", "training")


def main(arguments: list[str]) -> None:
    """Run everything; ends with exit code 1 if an experiment failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks everything", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each, and no report")
    asked = parser.parse_args(arguments)
    quick = ["--quick"] if asked.quick else []
    failed = [name for name in EXPERIMENTS if not _run(name, *quick)]
    if not quick and not _run("report"):
        failed.append("report")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(name: str, *arguments: str) -> bool:
    command = [sys.executable, "-m", "benchmarks", name, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0  # noqa: S603 - the harness's own command
