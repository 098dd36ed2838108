"""Where the harness keeps what it makes and may lose: packages, the peers' environments, logs of servers.

    benchmarks/.work/       ignored by git through a .gitignore of its own
        models/             packages of the fixed generators
        peers/NAME/         a virtual environment each
        logs/               what servers wrote

It stands alone because everything else of the harness points here. Results are no part of it: they are kept.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
WORK: Final = ROOT / "benchmarks" / ".work"
MODELS: Final = WORK / "models"
PEERS: Final = WORK / "peers"
LOGS: Final = WORK / "logs"


def prepare() -> None:
    """Make the folders, hidden from git."""
    for folder in (MODELS, PEERS, LOGS, RESULTS):
        folder.mkdir(parents=True, exist_ok=True)
    (WORK / ".gitignore").write_text("*\n", encoding="utf-8")
