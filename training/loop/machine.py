"""The device and the libraries of a run: chosen before the first step, recorded in checkpoints, compared on resuming.

The bits of a run depend on them: a GPU's libraries choose their kernels by the device and by their own version, and
some kernels add in an order that differs from call to call. With `deterministic` a run on one card, with the same
libraries, computes the same bits each time, and a resumed one those of an uninterrupted one; on a CPU it does so
anyway.
"""

import ctypes
import os
from typing import Final

import torch

from training.errors import CheckpointError
from training.schedule import TrainerConfig

WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"
FIXED_WORKSPACE: Final = ":4096:8"  # without it cuBLAS may choose another algorithm in each call
VERSION_BYTES: Final = 80  # NVML's limit for the driver's version
DRIVER: Final = "driver"  # recorded for a person; kernels come with the libraries, not with the driver


def choose_arithmetic(pace: TrainerConfig) -> None:
    """Set torch's switches of determinism and TF32, for the whole process.

    Args:
        pace: the `[trainer]` table. Nothing may have used CUDA before, because cuBLAS reads its workspace once.
    """
    if pace.deterministic:
        os.environ.setdefault(WORKSPACE, FIXED_WORKSPACE)
    torch.use_deterministic_algorithms(pace.deterministic)
    if pace.deterministic:
        torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = pace.tf32
    torch.backends.cudnn.allow_tf32 = pace.tf32  # torch's own default is on


def describe(device: torch.device) -> dict[str, str]:
    """Describe what a run computes with.

    Returns:
        The device's name and the versions of torch and, on a GPU, of driver, CUDA and cuDNN.
    """
    found = {"device": f"a CPU with {torch.backends.cpu.get_cpu_capability()}", "torch": str(torch.__version__)}
    if device.type != "cuda":
        return found
    return found | {
        "device": torch.cuda.get_device_name(device),
        DRIVER: driver_version(),
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]  # not in torch's own types
    }


def driver_version(library: str = "libnvidia-ml.so.1") -> str:
    """Ask NVIDIA's management library for the version of the driver.

    Returns:
        Such as 580.65.06; "unknown" where the library is missing or does not answer.
    """
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return "unknown"
    version = ctypes.create_string_buffer(VERSION_BYTES)
    if nvml.nvmlInit_v2() != 0:
        return "unknown"
    answered = nvml.nvmlSystemGetDriverVersion(version, VERSION_BYTES) == 0
    nvml.nvmlShutdown()
    return version.value.decode() if answered else "unknown"


def compare(former: dict[str, str], here: dict[str, str], *, deterministic: bool) -> str | None:
    """Compare the machine of a checkpoint with the one that goes on.

    Args:
        former: from the checkpoint; empty in one that was written before machines were recorded.
        deterministic: whether the run is to compute the same bits each time.

    Returns:
        A sentence if the run does not go on exactly, else None.

    Raises:
        CheckpointError: if it does not, and is `deterministic`.
    """
    changed = [
        f"{what} was {former.get(what, 'none')} and is {here.get(what, 'none')}"
        for what in dict.fromkeys((*former, *here))
        if what != DRIVER and former.get(what) != here.get(what)
    ]
    if not former or not changed:
        return None
    what = "; ".join(changed)
    if deterministic:
        raise CheckpointError(
            f"{what}: a run with [trainer] deterministic = true goes on only where it computes the same bits, which is "
            "on the same device with the same libraries"
        )
    return f"{what}: from here on the run is not exactly what it would have been without the interruption"
