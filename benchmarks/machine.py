"""What figures were measured on: processor, cores, system, versions, commit. It stands in every result."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.workplace import ROOT
from service.engine.config import usable_cores

PROCESSOR: Final = Path("/proc/cpuinfo")
MEMORY: Final = Path("/proc/meminfo")
GIT_TIMEOUT_S: Final = 10.0
PACKAGES: Final = ("ganymede-gan", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "uvicorn", "uvloop", "torch")

Machine = dict[str, object]


def describe() -> Machine:
    """Describe this machine and what is installed in this environment, in plain values."""
    return {
        "processor": _field(PROCESSOR, "model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "cores_of_the_machine": os.cpu_count(),
        "memory": _field(MEMORY, "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
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
