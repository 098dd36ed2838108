"""Results as files: one experiment, one JSON file, its rows flat so that tables and plots choose from them.

    {"experiment": …, "machine": {…}, "settings": {…}, "rows": [{…}, …]}

A row is one measurement of one cell in one round, with whoever else used the processor meanwhile. Medians are taken
where a table is written, so that nothing is lost before.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.workplace import RESULTS

Value = str | float | int | bool | None
Row = dict[str, Value]


def write(experiment: str, settings: Mapping[str, object], rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """Write an experiment's results; those of an earlier run are replaced.

    Args:
        experiment: its name, and the file's.
        settings: what it was run with.
        rows: what it found so far.
        folder: for the file.
    """
    path = folder / f"{experiment}.json"
    found = {"experiment": experiment, "machine": machine.describe(), "settings": settings, "rows": rows}
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Found:
    """What an experiment found.

    Attributes:
        rows: its measurements; none if it was not run.
        machine: what it was run on.
        settings: what it was run with.
    """

    rows: list[Row]
    machine: Mapping[str, object]
    settings: Mapping[str, object]

    @property
    def cores(self) -> int:
        """Of the machine."""
        cores = self.machine.get("cores", 1)
        return cores if isinstance(cores, int) else 1


def read(experiment: str, folder: Path = RESULTS) -> Found:
    """Read what an experiment found."""
    path = folder / f"{experiment}.json"
    if not path.is_file():
        return Found([], {}, {})
    found = json.loads(path.read_text(encoding="utf-8"))
    return Found(found["rows"], found["machine"], found["settings"])


def chosen(rows: Sequence[Row], **wanted: Value) -> Iterator[Row]:
    """The rows whose fields have these values."""
    return (row for row in rows if all(row.get(key) == value for key, value in wanted.items()))


def numbers(rows: Sequence[Row], key: str, **wanted: Value) -> list[float]:
    """One field of the rows whose other fields have these values."""
    return [float(value) for row in chosen(rows, **wanted) if isinstance(value := row.get(key), int | float)]
