"""What figures were measured on: processor, cores, device, system, versions, commit. It stands in every result."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import gpu
from benchmarks.workplace import RESULTS, ROOT
from service import __version__
from service.engine.config import usable_cores

PROCESSOR: Final = Path("/proc/cpuinfo")
MEMORY: Final = Path("/proc/meminfo")
GIT_TIMEOUT_S: Final = 10.0
PACKAGES: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "numpy",
    "uvicorn",
    "uvloop",
    "torch",
    "ray",
)

Machine = dict[str, object]


def describe() -> Machine:
    """Describe this machine, its CUDA device if it has one, and what is installed in this environment."""
    device = gpu.describe()
    return {
        "processor": _field(PROCESSOR, "model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "cores_of_the_machine": os.cpu_count(),
        "memory": _field(MEMORY, "MemTotal"),
        **({"device": device} if device else {}),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        # Of what runs: an editable installation still states the version that it was made at.
        "versions": {"ganymede-gan": __version__} | {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _field(file: Path, name: str) -> str | None:
    if not file.is_file():
        return None
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of this checkout, with `-dirty` behind it where files differ; None outside one."""
    try:
        done = subprocess.run(  # noqa: S603 - the harness's own command
            ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty"],  # noqa: S607 - wherever it is
            check=True, capture_output=True, text=True, timeout=GIT_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@dataclass(frozen=True)
class Spread:
    """Several measurements of one quantity.

    Attributes:
        median: of them.
        least: of them.
        most: of them.
    """

    median: float
    least: float
    most: float


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of some values that at least a share of them does not exceed.

    Args:
        values: at least one, in any order.
        share: in [0, 1].
    """
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def spread(values: Sequence[float]) -> Spread:
    """Sum up some measurements, at least one; of an even number the median is the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return Spread(median, ordered[0], ordered[-1])


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
    found = {"experiment": experiment, "machine": describe(), "settings": settings, "rows": rows}
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
