"""How an operator wants graphs to be run: on what, by what, in which arithmetic, and how strictly.

Plain words that settings are read into and that backends, the proof and the tests all speak, so that none of them needs
another's library. It opens nothing and knows no graph.
"""

from dataclasses import dataclass
from typing import Literal

from service.engine.cores import usable_cores

Backend = Literal["onnxruntime", "openvino"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "fp16", "bf16"]
Reproducibility = Literal["strict", "fast"]

# What really runs a graph, by the names that packages state tolerances for.
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINO"


@dataclass(frozen=True, slots=True)
class Runtime:
    """How graphs are run.

    Attributes:
        device: `auto` takes CUDA where it really works, else the CPU; `cuda` refuses to do without.
        threads: cores that models compute on, on the CPU; 0 takes the cores this process may use.
        reproducibility: `strict` uses only batch sizes proven bitwise equal; `fast` all within the golden tolerance.
        backend: the library that computes.
        precision: of the generators of images; every other graph runs in fp32.
    """

    device: Device = "auto"
    threads: int = 0
    reproducibility: Reproducibility = "strict"
    backend: Backend = "onnxruntime"
    precision: Precision = "fp32"

    @property
    def cores(self) -> int:
        """Cores that models compute on."""
        return self.threads or usable_cores()
