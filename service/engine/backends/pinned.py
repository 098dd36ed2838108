"""Pinned host memory: memory that a GPU writes to by itself, where it would copy to other memory in two steps.

A copy into it is one transfer at the full rate of the bus; what is answered is then copied out of it, since answers are
kept after later runs.

References:
    CUDA Runtime API: `cudaHostAlloc`, `cudaFreeHost`, `cudaMemcpy`; CUDA C++ Best Practices Guide, "Pinned Memory".
"""

import ctypes
import math
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from service.engine.backends.nvidia import RUNTIME_LIBRARY
from service.engine.model_spec import Array

DEVICE_TO_HOST: Final = 2  # cudaMemcpyKind


@lru_cache(maxsize=1)
def cuda_runtime() -> Any:  # noqa: ANN401  (a library's functions have no types)
    """The CUDA runtime library.

    Raises:
        OSError: it is not there.
    """
    return ctypes.CDLL(RUNTIME_LIBRARY)


class PinnedArray:
    """One array in pinned memory, which is freed with it.

    Args:
        shape: of the array.
        dtype: of its elements.
        runtime: the CUDA runtime library.

    Raises:
        MemoryError: there is no such memory.
    """

    def __init__(self, shape: Sequence[int], dtype: type[np.generic], runtime: Any) -> None:  # noqa: ANN401  (as above)
        self._runtime = runtime
        self._size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        address = ctypes.c_void_p()
        error = runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(self._size_bytes), ctypes.c_uint(0))
        if error or address.value is None:
            raise MemoryError(f"cudaHostAlloc of {self._size_bytes} bytes failed with CUDA error {error}")
        weakref.finalize(self, runtime.cudaFreeHost, address)
        memory = (ctypes.c_uint8 * self._size_bytes).from_address(address.value)
        self._address = address
        self._array: Array = np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def fetch(self, value: ort.OrtValue) -> Array:
        """Copy a tensor of the same shape and type from the device.

        Returns:
            A new array.

        Raises:
            RuntimeError: the copy failed.
        """
        source, size = ctypes.c_void_p(value.data_ptr()), ctypes.c_size_t(self._size_bytes)
        error = self._runtime.cudaMemcpy(self._address, source, size, ctypes.c_int(DEVICE_TO_HOST))
        if error:
            raise RuntimeError(f"cudaMemcpy failed with CUDA error {error}")
        return self._array.copy()
