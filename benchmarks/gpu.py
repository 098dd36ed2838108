"""The CUDA device of this machine, by the driver, its libraries and `nvidia-smi`; empty where there is none."""

import ctypes
import importlib.metadata
import os
import shutil
import subprocess
from typing import Final, Self

DRIVER: Final = "libcuda.so.1"
# Library → its file names and the function that returns its version.
LIBRARIES: Final = {
    "cudnn": (("libcudnn.so.9",), "cudnnGetVersion"),
    "cublas": (("libcublasLt.so.13", "libcublasLt.so.12"), "cublasLtGetVersion"),
}
# Prefixes of the wheels that contain the libraries, where the library cannot be opened.
WHEELS: Final = {"cudnn": "nvidia-cudnn", "cublas": "nvidia-cublas"}
SMI_TIMEOUT_S: Final = 20.0
UTILISATION: Final = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "-lms=200")
MEBIBYTE: Final = 2**20

Description = dict[str, str]


def present() -> bool:
    """Whether there is a driver and devices are not hidden by `CUDA_VISIBLE_DEVICES`; no computation is tried."""
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
    """Query one field of the first device from `nvidia-smi`; None where that fails.

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
    """Device memory in use by all processes; None where it is unknown."""
    used = query("memory.used") if present() else None
    return int(used) * MEBIBYTE if used is not None and used.isdecimal() else None


class Utilisation:
    """Utilisation of the device while a block runs, sampled by `nvidia-smi` five times a second.

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
