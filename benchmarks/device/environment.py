"""The stage `env`: what this machine is, and what copies and launches cost on it before any network is run."""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import Final

import numpy as np

from benchmarks import gpu
from benchmarks.device.stage import Notes, median, timed
from service.engine.config import usable_cores

SIZES: Final = {"32 KiB": 2**15, "768 KiB": 3 * 2**18, "3 MiB": 3 * 2**20}
FIELDS: Final = (
    "clocks.current.sm", "clocks.max.sm", "clocks.max.mem", "power.limit", "persistence_mode", "compute_cap",
    "pcie.link.gen.max", "pcie.link.width.max", "temperature.gpu",
)  # fmt: skip
LAUNCHES: Final = 100
MICRO: Final = 1e-6


def measure_env(notes: Notes) -> None:
    """Describe the machine; time copies of the sizes that samples have, and launches."""
    notes.attempt("nvidia-smi", _card, notes)
    wheels = {
        found.metadata["Name"]: found.version
        for found in distributions()
        if (found.metadata["Name"] or "").startswith(("nvidia-", "onnxruntime", "torch", "accelerate", "numpy"))
    }
    notes.row("wheels", **dict(sorted(wheels.items())))
    notes.say(f"{usable_cores()} of {os.cpu_count()} cores; {', '.join(f'{k} {v}' for k, v in sorted(wheels.items()))}")
    if find_spec("torch") is None:
        notes.skip("copies and launches", "no torch")
        return
    notes.attempt("copies", _copies, notes)
    notes.attempt("launches", _launches, notes)


def _card(notes: Notes) -> None:
    if not gpu.present():
        notes.skip("nvidia-smi", "no CUDA device")
        return
    notes.row("card", **gpu.describe(), **{field: gpu.query(field) for field in FIELDS})
    notes.say(" · ".join(f"{key} {value}" for key, value in gpu.describe().items()))
    if smi := shutil.which("nvidia-smi"):
        done = subprocess.run([smi, "-q"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
        notes.row("nvidia-smi", text=done.stdout)


def _copies(notes: Notes) -> None:
    import torch  # noqa: PLC0415 - the rest of the stage does without

    device = torch.device(notes.terms.device)
    repeats = notes.terms.pick(200, 2)
    settle = _settle(notes)
    for name, size in SIZES.items():
        for kind in ("pageable", "pinned"):
            if kind == "pinned" and device.type == "cpu":
                notes.skip("pinned copies", "no CUDA device")
                continue
            host = torch.from_numpy(np.zeros(size, np.uint8))
            host = host.pin_memory() if kind == "pinned" else host
            there = torch.empty(size, dtype=torch.uint8, device=device)
            for way, run in (("to the device", _copy(there, host)), ("to the host", _copy(host, there))):
                timed(run, 2, settle)
                microseconds = median(timed(run, repeats, settle)) / MICRO
                notes.row("copies", size=name, kind=kind, way=way, microseconds=microseconds)
                notes.say(f"{name} {kind} {way}: {microseconds:.1f} µs") if name == "768 KiB" else None


def _copy(target: "object", source: "object") -> Callable[[], object]:
    return lambda: target.copy_(source, non_blocking=True)  # type: ignore[attr-defined]  # tensors


def _launches(notes: Notes) -> None:
    """A kernel that does nothing: launched, and as a graph of a hundred of them."""
    import torch  # noqa: PLC0415

    one = torch.zeros(1, device=notes.terms.device)
    settle = _settle(notes)

    def launch() -> None:
        for _ in range(LAUNCHES):
            one.add_(1)

    timed(launch, 2, settle)
    each = median(timed(launch, notes.terms.pick(50, 2), settle)) / LAUNCHES / MICRO
    notes.row("launches", way="one by one", microseconds=each)
    notes.say(f"a launch: {each:.2f} µs")
    if notes.terms.device == "cpu":
        notes.skip("launches of a CUDA graph", "no CUDA device")
        return
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    captured = median(timed(graph.replay, 50, settle)) / LAUNCHES / MICRO
    notes.row("launches", way="captured", microseconds=captured)
    notes.say(f"a launch in a CUDA graph: {captured:.2f} µs")


def _settle(notes: Notes) -> Callable[[], object]:
    import torch  # noqa: PLC0415

    return torch.cuda.synchronize if notes.terms.device == "cuda" else lambda: None
