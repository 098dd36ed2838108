"""What a figure was made with: the machine, the libraries and the commit of the code.

It stands beside every published number, because time and, in the last digits, results depend on it.
"""

import platform
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import scipy
import torch

from training.packaging.provenance import commit

LIBRARIES: Final = (torch, np, scipy, onnx, onnxruntime)
CPU_DESCRIPTION: Final = Path("/proc/cpuinfo")  # of Linux; elsewhere the platform module knows the name

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
