"""What is missing of NVIDIA's software is named with what brings it; what is there says its version."""

import ctypes
from typing import Any

import pytest

from service.engine.backends.nvidia import CUBLAS, CUDNN, DRIVER, RUNTIME_LIBRARY, WHEELS, Nvidia
from tests.support.serving import ROOT


class Libraries:
    """Libraries of a host with a card, as ctypes gives them.

    Args:
        missing: files that cannot be loaded.
        started: what `cuInit` answers; 0 is success.
    """

    def __init__(self, missing: tuple[str, ...] = (), started: int = 0) -> None:
        self._missing = missing
        self._started = started

    def __call__(self, name: str) -> "Libraries":
        if name in self._missing:
            raise OSError(name)
        return self

    def cuInit(self, _flags: int) -> int:  # noqa: N802  (these are the libraries' own names)
        return self._started

    def cuDeviceGet(self, _device: Any, _number: int) -> int:  # noqa: ANN401, N802
        return 0

    def cuDeviceGetName(self, name: Any, _size: int, _device: Any) -> int:  # noqa: ANN401, N802
        name.value = b"a card"
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlSystemGetDriverVersion(self, version: Any, _size: int) -> int:  # noqa: ANN401, N802
        version.value = b"580.95.05"
        return 0

    def cudaRuntimeGetVersion(self, version: Any) -> int:  # noqa: ANN401, N802
        version._obj.value = 13_010
        return 0

    def cudnnGetVersion(self) -> int:  # noqa: N802
        return 92_801

    def cublasGetProperty(self, part: int, version: Any) -> int:  # noqa: ANN401, N802
        version._obj.value = (13, 1, 2)[part]
        return 0


def test_a_device_and_its_libraries_are_named_with_their_versions() -> None:
    device = Nvidia(Libraries()).describe()
    assert (device.name, device.driver, device.cuda, device.cudnn, device.cublas) == (
        "a card",
        "580.95.05",
        "13.1",
        "9.28.1",
        "13.1.2",
    )


def test_what_cannot_be_asked_is_unknown() -> None:
    device = Nvidia(Libraries(missing=(DRIVER, "libnvidia-ml.so.1", RUNTIME_LIBRARY, CUDNN, CUBLAS))).describe()
    assert {device.name, device.driver, device.cuda, device.cudnn, device.cublas} == {"unknown"}


def test_where_all_is_there_nothing_is_missing() -> None:
    assert list(Nvidia(Libraries()).problems()) == []


def test_without_a_driver_nothing_else_is_looked_for() -> None:
    (problem,) = Nvidia(Libraries(missing=(DRIVER, CUDNN))).problems()
    assert problem.startswith("the NVIDIA driver (libcuda.so.1) is missing: install driver 580")


def test_a_driver_that_starts_no_device_is_told() -> None:
    (problem,) = Nvidia(Libraries(started=100)).problems()
    assert "cuInit answers 100" in problem


@pytest.mark.parametrize("library", WHEELS)
def test_a_missing_library_is_named_with_its_wheel(library: str) -> None:
    (problem,) = Nvidia(Libraries(missing=(library,))).problems()
    assert problem.startswith(f"{library} cannot be loaded: install {WHEELS[library]} (")


def test_a_host_without_a_library_answers_through_ctypes_itself() -> None:
    assert not Nvidia(lambda _: ctypes.CDLL("libnot-there.so.0")).has_driver


def test_the_wheels_of_the_image_are_pinned() -> None:
    """Another cuDNN or cuBLAS may choose other kernels, and those give other bytes."""
    pins = (ROOT / "constraints.txt").read_text()
    for wheel in WHEELS.values():
        assert f"\n{wheel}==" in pins
