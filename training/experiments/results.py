"""The results of an experiment as files: each seed's figures, and the table's row made from them.

    OUT/ring/seed-3/result.json    one seed's
    OUT/ring.json                  the row: all finished seeds, and their summary
    training/results/ring.json     such a row, published in the results table

Every seed has its own file, so that a set of seeds can be continued and shared by several processes. The row has
everything that the table shows; its summary follows from the seeds and is not read back.
"""

import dataclasses
import json
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import scipy
import torch

from training.errors import DataError
from training.experiments.base import Metrics, Target
from training.export.provenance import commit
from training.files import write_atomically

LIBRARIES: Final = (torch, np, scipy, onnx, onnxruntime)
CPU_DESCRIPTION: Final = Path("/proc/cpuinfo")  # of Linux; elsewhere the platform module has the name

Origin = dict[str, str | int | None]


def origin() -> Origin:
    """Describe this machine and this program.

    Returns:
        Plain values: processor, threads in use, accelerator, versions, commit (None outside a checkout).
    """
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{library.__name__: library.__version__ for library in LIBRARIES},
        "commit": commit(),
    }


def _processor() -> str:
    if CPU_DESCRIPTION.is_file():
        for line in CPU_DESCRIPTION.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


PUBLISHED: Final = Path(__file__).parents[1] / "results"
SEED_FILE: Final = "result.json"


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """The result of one seed.

    Attributes:
        seconds: wall clock of the attempt that finished it.
    """

    seed: int
    metrics: Metrics
    seconds: float
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric over the seeds; the deviation is the sample's (n - 1), 0 for a single seed."""

    median: float
    mean: float
    standard_deviation: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table, with its seeds.

    Attributes:
        protocol: what was measured and on how many samples.
        shown: metrics that the table shows beside those of the targets.
        seeds: one or more.
    """

    name: str
    system: str
    protocol: str
    paper: str
    targets: tuple[Target, ...]
    shown: tuple[str, ...]
    seeds: tuple[SeedResult, ...]

    def figures(self, metric: str) -> list[float]:
        """A metric's figure for every seed."""
        return [result.metrics[metric] for result in self.seeds]

    def summary(self, metric: str) -> Summary:
        """A metric over the seeds."""
        figures = self.figures(metric)
        return Summary(
            median=statistics.median(figures),
            mean=statistics.fmean(figures),
            standard_deviation=statistics.stdev(figures) if len(figures) > 1 else 0.0,
            min=min(figures),
            max=max(figures),
        )

    def meets(self, target: Target) -> bool:
        """Whether the seeds meet a target."""
        every = target.over == "every_seed"
        return target.met_by(self.figures(target.metric) if every else [self.summary(target.metric).median])


def write_row(path: Path, row: Row) -> None:
    """Write a row with its summary."""
    write_atomically(path, _dump(document(row)))


def document(row: Row) -> dict[str, object]:
    """A row with its summary, as its file and `--json` have it."""
    entry = dataclasses.asdict(row)
    entry["targets"] = [{**dataclasses.asdict(target), "met": row.meets(target)} for target in row.targets]
    first, *others = (result.metrics for result in row.seeds)
    of_all = [metric for metric in first if all(metric in metrics for metrics in others)]  # a run may end early
    entry["summary"] = {metric: dataclasses.asdict(row.summary(metric)) for metric in of_all}
    return entry


def read_row(path: Path) -> Row:
    """Read a row.

    Args:
        path: of a file that `write_row` wrote.

    Raises:
        DataError: if the file is no such row.
    """
    entry = _load(path)
    try:
        targets = [{key: value for key, value in target.items() if key != "met"} for target in entry["targets"]]
        return Row(
            name=entry["name"],
            system=entry["system"],
            protocol=entry["protocol"],
            paper=entry["paper"],
            targets=tuple(Target(**target) for target in targets),
            shown=tuple(entry["shown"]),
            seeds=tuple(SeedResult(**seed) for seed in entry["seeds"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no row of results: {error}") from error


def published(folder: Path = PUBLISHED) -> dict[str, Row]:
    """Read the rows of the published table.

    Returns:
        Rows by the experiment's name.

    Raises:
        DataError: if a file is no row.
    """
    return {path.stem: read_row(path) for path in sorted(folder.glob("*.json"))}


def write_seed(folder: Path, result: SeedResult) -> None:
    """Write a seed's result into its folder."""
    write_atomically(folder / SEED_FILE, _dump(dataclasses.asdict(result)))


def read_seed(folder: Path) -> SeedResult | None:
    """Read a seed's result.

    Returns:
        Its result; None if it is not finished.

    Raises:
        DataError: if the file is no result.
    """
    path = folder / SEED_FILE
    if not path.is_file():
        return None
    try:
        return SeedResult(**_load(path))
    except TypeError as error:
        raise DataError(f"{path} is no seed's result: {error}") from error


def _dump(entry: dict[str, Any]) -> bytes:
    return (json.dumps(entry, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no results")
    return content
