"""The provenance of a package: configuration, data, code, libraries.

The service returns it without interpretation. Paths of this machine are left out.
"""

import platform
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch

from training import config as configuration
from training.config import Config
from training.data import SelfContained
from training.data.image_data import Dataset
from training.schedule import BUILT_IN
from training.state.checkpoint import Run

SOURCE: Final = Path(__file__).parents[1]  # the training code, one level below the top of its checkout
GIT_TIMEOUT_S = 10.0


def provenance(run: Run, data: Dataset, metrics: dict[str, object]) -> dict[str, object]:
    """Describe a package's origin."""
    tables = configuration.to_tables(portable(run.config))
    return {
        "objective": run.config.objective.kind,
        "config": {**tables.pop(""), **tables},  # as in TOML, where some keys are outside any table
        "config_sha256": run.config_sha256,
        "data": {"name": data.name, "sha256": data.sha256, "attribution": data.attribution},
        "commit": commit(),
        "samples_seen": run.samples_seen,
        **({"history": [change.plain() for change in run.history]} if run.history else {}),
        **({} if run.best is None else {"best": run.best.plain()}),
        "metrics": metrics,
        "libraries": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def portable(config: Config) -> Config:
    """Copy a configuration without the data's path on this machine, and without the trackers of who trained it.

    Returns:
        A configuration with the same hash.
    """
    untold = replace(config, trainer=replace(config.trainer, trackers=(BUILT_IN,)))
    return untold if isinstance(config.data, SelfContained) else configuration.with_data_path(untold, "")


def commit(source: Path = SOURCE) -> str | None:
    """Find the commit of the running code.

    Args:
        source: a folder one level below the top of a checkout.

    Returns:
        Its hash, followed by `-dirty` if the folder differs from it; None outside the project's own checkout (an
        environment inside another repository is none) or before the first commit.
    """
    top = _git(source, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != source.parent.resolve():
        return None
    head = _git(source, "rev-parse", "--verify", "--quiet", "HEAD")
    if head is None:
        return None
    changes = _git(source, "status", "--porcelain", "--", ".")
    return f"{head}-dirty" if changes else head


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git; None without git, without a repository or after an error."""
    try:
        answer = subprocess.run(  # noqa: S603 - no word of the command comes from outside
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is wherever the user has it
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
