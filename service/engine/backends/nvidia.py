"""The NVIDIA driver and the CUDA libraries, asked through ctypes: which are missing, and which versions there are.

References:
    CUDA Driver API: `cuInit`, `cuDeviceGetName`; CUDA Runtime API: `cudaRuntimeGetVersion`; NVML:
    `nvmlSystemGetDriverVersion`; cuBLAS: `cublasGetProperty`; cuDNN: `cudnnGetVersion`.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Final

import onnxruntime as ort

from service.engine.model_spec import DeviceReport

CUDA_MAJOR: Final = (getattr(ort, "cuda_version", "") or "13").partition(".")[0]
DRIVER: Final = "libcuda.so.1"
CUBLAS: Final = f"libcublas.so.{CUDA_MAJOR}"
RUNTIME_LIBRARY: Final = f"libcudart.so.{CUDA_MAJOR}"
CUDNN: Final = "libcudnn.so.9"
# Library → the wheel that brings it. cuDNN compiles some kernels while it runs, which takes NVRTC.
WHEELS: Final = {
    RUNTIME_LIBRARY: "nvidia-cuda-runtime",
    CUBLAS: "nvidia-cublas",
    f"libcublasLt.so.{CUDA_MAJOR}": "nvidia-cublas",
    "libcurand.so.10": "nvidia-curand",
    f"libnvrtc.so.{CUDA_MAJOR}": "nvidia-cuda-nvrtc",
    CUDNN: f"nvidia-cudnn-cu{CUDA_MAJOR}",
}
# Driver branches older than this do not run CUDA 13.
OLDEST_DRIVER: Final = 580
NAME_BYTES: Final = 256

OpenLibrary = Callable[[str], Any]


class Nvidia:
    """What this process can load of NVIDIA's software.

    Args:
        open_library: loads a library by its file name, or raises OSError.
    """

    def __init__(self, open_library: OpenLibrary = ctypes.CDLL) -> None:
        self._open = open_library

    @property
    def has_driver(self) -> bool:
        """Whether the driver's library is there."""
        return self._has(DRIVER)

    def problems(self) -> Iterator[str]:
        """What is missing or does not start, each with what to do about it."""
        if not self.has_driver:
            yield (
                f"the NVIDIA driver ({DRIVER}) is missing: install driver {OLDEST_DRIVER} or later, and give a "
                "container its GPU (docker run --gpus all)"
            )
            return
        if error := self._open(DRIVER).cuInit(0):
            yield f"the NVIDIA driver starts no device (cuInit answers {error}): see what nvidia-smi says"
        missing = [library for library in WHEELS if not self._has(library)]
        if missing:
            wheels = " ".join(dict.fromkeys(WHEELS[library] for library in missing))
            yield (
                f"{', '.join(missing)} cannot be loaded: install {wheels} (pip install 'ganymede-gan[gpu]', or an "
                "image built with EXTRAS=gpu)"
            )

    def describe(self) -> DeviceReport:
        """The first device that this process sees, and the versions of what is between it and ONNX Runtime."""
        return DeviceReport(
            name=self._device_name() or "unknown",
            driver=self._driver_version() or "unknown",
            cuda=self._runtime_version() or "unknown",
            cudnn=self._cudnn_version() or "unknown",
            cublas=self._cublas_version() or "unknown",
        )

    def _has(self, library: str) -> bool:
        try:
            self._open(library)
        except OSError:
            return False
        return True

    def _device_name(self) -> str | None:
        device, name = ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)

        def ask(driver: Any) -> int:  # noqa: ANN401  (a library's functions have no types)
            failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
            return int(failed or driver.cuDeviceGetName(name, NAME_BYTES, device))

        return name.value.decode(errors="replace") if self._asked(DRIVER, ask) else None

    def _driver_version(self) -> str | None:
        version = ctypes.create_string_buffer(NAME_BYTES)

        def ask(management: Any) -> int:  # noqa: ANN401  (as above)
            return int(management.nvmlInit_v2() or management.nvmlSystemGetDriverVersion(version, NAME_BYTES))

        return version.value.decode(errors="replace") if self._asked("libnvidia-ml.so.1", ask) else None

    def _runtime_version(self) -> str | None:
        number = ctypes.c_int()
        known = self._asked(RUNTIME_LIBRARY, lambda runtime: int(runtime.cudaRuntimeGetVersion(ctypes.byref(number))))
        return f"{number.value // 1000}.{number.value % 1000 // 10}" if known else None

    def _cudnn_version(self) -> str | None:
        numbers: list[int] = []

        def ask(cudnn: Any) -> int:  # noqa: ANN401  (as above)
            numbers.append(int(cudnn.cudnnGetVersion()))
            return 0

        if not self._asked(CUDNN, ask):
            return None
        return f"{numbers[0] // 10_000}.{numbers[0] // 100 % 100}.{numbers[0] % 100}"

    def _cublas_version(self) -> str | None:
        parts = [ctypes.c_int() for _ in ("major", "minor", "patch")]

        def ask(cublas: Any) -> int:  # noqa: ANN401  (as above)
            return max(int(cublas.cublasGetProperty(each, ctypes.byref(part))) for each, part in enumerate(parts))

        return ".".join(str(part.value) for part in parts) if self._asked(CUBLAS, ask) else None

    def _asked(self, library: str, ask: Callable[[Any], int]) -> bool:
        """Whether a library is there and answered no error; what is not known harms nothing."""
        try:
            return ask(self._open(library)) == 0
        except (OSError, AttributeError):
            return False
