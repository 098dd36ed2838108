"""The log of a run: its rows and its events, in order.

    RUN/metrics.jsonl   {"samples": 6400, "critic/total": …, "theory/diversity": …, "quality/…": …}
    RUN/events.jsonl    {"samples": 12800, "event": "collapse", "text": "…"}

Events of the alarm follow from the rows, those of rollbacks are part of the checkpoint, so both files are the same
whether or not a run was interrupted.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

METRICS_NAME: Final = "metrics.jsonl"
EVENTS_NAME: Final = "events.jsonl"
QUALITY: Final = "quality/"  # what begins the names of figures that samples were measured by

Row = dict[str, float]
Kind = Literal["collapse", "recovery", "rollback", "divergence"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a run.

    Attributes:
        samples: training time; of a rollback, that of the checkpoint from which the run went on.
        text: in words, one sentence.
    """

    samples: int
    event: Kind
    text: str

    def line(self) -> str:
        """Format as a line of the file."""
        return json.dumps(asdict(self)) + "\n"


def rows(run: Path) -> list[Row]:
    """Read the rows of a run's log.

    Returns:
        The complete rows in order; none if there is no log.
    """
    found: list[Row] = [json.loads(line) for line in complete_lines(run / METRICS_NAME)]
    return found


def events(run: Path) -> list[Event]:
    """Read the events of a run."""
    return [Event(**json.loads(line)) for line in complete_lines(run / EVENTS_NAME)]


def complete_lines(path: Path) -> list[str]:
    """Read the complete lines of a file; none if there is no file."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
