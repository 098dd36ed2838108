"""How graphs are run: backend, device, precision, and the cores and the memory that this process may use.

References:
    Linux kernel documentation, Control Group v2, `cpu.max`: "$MAX $PERIOD" in microseconds, or "max"; `memory.max`:
    bytes, or "max".
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Backend = Literal["onnxruntime", "openvino"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "fp16", "bf16"]
Reproducibility = Literal["strict", "fast"]

# What really runs a graph, by the names that packages state tolerances for.
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINO"

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Runtime:
    """How graphs are run.

    Attributes:
        device: `auto` takes CUDA where it works, else the CPU; `cuda` refuses to load without it.
        threads: CPU cores that models compute on; 0 takes `usable_cores()`.
        reproducibility: `strict` uses only batch sizes verified to be bitwise equal; `fast` all within the golden
            tolerance.
        backend: the library that computes.
        precision: of the generators of images; every other graph runs in fp32.
        binding: whether sessions on CUDA are run through bound tensors, `BoundSession`.
        cuda_graph: whether those runs are captured in a CUDA graph.
        pinned: whether their outputs come through pinned memory.
    """

    device: Device = "auto"
    threads: int = 0
    reproducibility: Reproducibility = "strict"
    backend: Backend = "onnxruntime"
    precision: Precision = "fp32"
    binding: bool = False
    cuda_graph: bool = False
    pinned: bool = False

    @property
    def cores(self) -> int:
        """CPU cores that models compute on."""
        return self.threads or usable_cores()


def usable_cores(cgroup_root: Path = CGROUP_ROOT, own_cgroup: Path = OWN_CGROUP) -> int:
    """Cores granted to this process, at least 1.

    `os.cpu_count()` does not know a container's limit: ONNX Runtime, left to itself, starts a thread for every core of
    the host, and they take turns on the few that the control group grants.

    Args:
        cgroup_root: where control groups are mounted.
        own_cgroup: the file that names the process's own group.

    Returns:
        The smaller of the affinity mask and of every quota from the own control group up to the root. A quota of 1.5
        cores counts as 1: a second thread would only be throttled.
    """
    # Elsewhere than on Linux there is no mask and no quota.
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([granted, *_quotas(cgroup_root, own_cgroup)]))


def memory_limit_bytes(cgroup_root: Path = CGROUP_ROOT, own_cgroup: Path = OWN_CGROUP) -> int:
    """Memory that this process may take: the smallest limit of its control groups, or what the host has.

    Args:
        cgroup_root: as in `usable_cores`, and so is `own_cgroup`.
    """
    limits = []
    for folder in _groups(cgroup_root, own_cgroup):
        try:
            limits.append(int((folder / "memory.max").read_text()))
        except (OSError, ValueError):  # not limited, or not there
            continue
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _quotas(cgroup_root: Path, own_cgroup: Path) -> list[int]:
    """Whole cores that the own control group and those above it allow."""
    quotas = [_quota(folder / "cpu.max") for folder in _groups(cgroup_root, own_cgroup)]
    return [quota for quota in quotas if quota is not None]


def _groups(cgroup_root: Path, own_cgroup: Path) -> list[Path]:
    """The folders of the own control group and of those above it, up to the root; none where there are none."""
    try:
        lines = own_cgroup.read_text().splitlines()
    except OSError:
        return []
    group = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    folder = cgroup_root / group.strip("/")
    folders = [folder, *folder.parents]
    return folders[: folders.index(cgroup_root) + 1]


def _quota(cpu_max: Path) -> int | None:
    """Whole cores that one `cpu.max` allows; None where it does not limit."""
    try:
        limit, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) // int(period)
