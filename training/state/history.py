"""The log of a run: its rows and its events, in order.

    RUN/metrics.jsonl   {"samples": 6400, "critic/total": …, "theory/diversity": …, "quality/…": …}
    RUN/events.jsonl    {"samples": 12800, "event": "collapse", "text": "…"}

Events of the alarm follow from the rows, those of rollbacks and changes are part of the checkpoint, so both files are
the same whether or not a run was interrupted. A change is what a person did to a run beside its configuration file;
checkpoint, package and report list all of them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from training.keys import Setting

METRICS_NAME: Final = "metrics.jsonl"
EVENTS_NAME: Final = "events.jsonl"
QUALITY: Final = "quality/"  # what begins the names of figures that samples were measured by

Row = dict[str, float]
Kind = Literal["collapse", "recovery", "rollback", "divergence", "set", "init", "total_samples", "data"]
KEPT_IN_CHECKPOINTS: Final = frozenset({"rollback", "set", "init", "total_samples", "data"})
PLACE_OF_DATA: Final = "data.path"  # of this machine, and no part of what a run is


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
        return json.dumps({"samples": self.samples, "event": self.event, "text": self.text}) + "\n"


@dataclass(frozen=True)
class Change(Event):
    """What a person changed of a run, and at which sample.

    Attributes:
        details: the same for programs, plain values.
    """

    details: Mapping[str, object] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values; `Change(**plain)` is the same."""
        return asdict(self)


def of_settings(settings: Iterable[Setting]) -> tuple[Change, ...]:
    """Record what `--set` set.

    Returns:
        One change, or none.
    """
    kept = [setting for setting in settings if setting.place != PLACE_OF_DATA]
    if not kept:
        return ()
    details = {setting.place: {"value": setting.value, "was": setting.former} for setting in kept}
    return (Change(0, "set", f"set on the command line: {', '.join(map(str, kept))}", details),)


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
