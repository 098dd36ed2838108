"""The CUDA device of this machine: whether there is one, its name, the versions under it, its memory in use.

Everything is asked of the driver, of the libraries themselves or of `nvidia-smi`; neither torch nor ONNX Runtime is
needed. On a machine without a device all answers are empty.
"""

import ctypes
import importlib.metadata
import os
import shutil
import subprocess
from typing import Final, Self

DRIVER: Final = "libcuda.so.1"
# Library → the function that answers its version, where a library of that name is loaded or can be found.
LIBRARIES: Final = {
    "cudnn": (("libcudnn.so.9",), "cudnnGetVersion"),
    "cublas": (("libcublasLt.so.13", "libcublasLt.so.12"), "cublasLtGetVersion"),
}
# Wheels that carry the libraries, by the beginning of their names, for what cannot be asked.
WHEELS: Final = {"cudnn": "nvidia-cudnn", "cublas": "nvidia-cublas"}
SMI_TIMEOUT_S: Final = 20.0
UTILISATION: Final = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "-lms=200")
MEBIBYTE: Final = 2**20

Description = dict[str, str]


def present() -> bool:
    """Whether there is a driver and a device is not hidden; whether anything can be computed on it is not tried."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") != "" and _library(DRIVER) is not None


def describe() -> Description:
    """Name, driver and the versions of CUDA, cuDNN and cuBLAS, as far as they can be found; empty without a device."""
    if not present():
        return {}
    found: Description = {}
    for key, field in (("name", "name"), ("driver", "driver_version"), ("memory", "memory.total")):
        if value := query(field):
            found[key] = value
    if cuda := _cuda_version():
        found["cuda"] = cuda
    for key, (names, function) in LIBRARIES.items():
        if version := _own_version(names, function) or _wheel_version(WHEELS[key]):
            found[key] = version
    return found


def query(field: str) -> str | None:
    """Ask `nvidia-smi` for one field of the first device; None where it does not answer.

    Args:
        field: as `nvidia-smi --help-query-gpu` names it.
    """
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the harness's own command
            [smi, f"--query-gpu={field}", "--format=csv,noheader,nounits", "--id=0"],
            capture_output=True, text=True, check=True, timeout=SMI_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def memory_bytes() -> int | None:
    """Memory of the device in use by all processes; None where it cannot be asked."""
    used = query("memory.used") if present() else None
    return int(used) * MEBIBYTE if used is not None and used.isdecimal() else None


class Utilisation:
    """How busy the device is while a block runs, as `nvidia-smi` sees it five times a second.

    Attributes:
        mean: in percent; None until the block is left, and without a device.
    """

    def __init__(self) -> None:
        self.mean: float | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        smi = shutil.which("nvidia-smi") if present() else None
        if smi is not None:
            self._process = subprocess.Popen([smi, *UTILISATION], stdout=subprocess.PIPE, text=True)  # noqa: S603
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            readings = [int(word) for word in self._process.communicate()[0].split() if word.isdecimal()]
            self.mean = sum(readings) / len(readings) if readings else None


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _cuda_version() -> str | None:
    """The newest CUDA that the driver knows."""
    driver, version = _library(DRIVER), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _own_version(names: tuple[str, ...], function: str) -> str | None:
    for library in filter(None, map(_library, names)):
        ask = getattr(library, function)
        ask.restype = ctypes.c_size_t
        version = int(ask())
        return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
    return None


def _wheel_version(prefix: str) -> str | None:
    for found in importlib.metadata.distributions():
        if (found.metadata["Name"] or "").startswith(prefix):
            return found.version
    return None
