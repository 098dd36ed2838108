"""Where a package comes from: configuration, data, code, libraries.

The service echoes all this and interprets none of it. Paths of this machine are left out: they help nobody else.
"""

import platform
import subprocess
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
from training.state.checkpoint import Run

SOURCE: Final = Path(__file__).parents[2]  # the training code, at the top of its checkout
GIT_TIMEOUT_S = 10.0


def provenance(run: Run, data: Dataset, metrics: dict[str, object]) -> dict[str, object]:
    """Describe a package's origin."""
    tables = configuration.to_tables(portable(run.config))
    return {
        "objective": run.config.objective.kind,
        "config": {**tables.pop(""), **tables},  # as TOML has it: some keys stand outside any table
        "config_sha256": run.config_sha256,
        "data": {"name": data.name, "sha256": data.sha256, "attribution": data.attribution},
        "commit": commit(),
        "samples_seen": run.samples_seen,
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
    """The same configuration without the place of the data on this machine.

    Returns:
        A configuration with the same hash.
    """
    return config if isinstance(config.data, SelfContained) else configuration.with_data_path(config, "")


def commit(source: Path = SOURCE) -> str | None:
    """The commit of the code that runs.

    Args:
        source: a folder at the top of a checkout.

    Returns:
        Its hash, with `-dirty` behind it if the folder differs from it; None outside a checkout of its own (an
        environment that happens to lie in somebody else's repository is not one) or before the first commit.
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
    """What git answers, or None where there is no git, no repository or no answer."""
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
