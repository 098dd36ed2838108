"""What a result says of the CUDA device that it was measured on, and that it says nothing where there is none."""

import ctypes
import ctypes.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import gpu, results
from benchmarks.contenders import packages
from benchmarks.experiments import cuda

SMI = """#!/bin/sh
case "$1" in
  *driver_version) echo 580.95.05;;
  *memory.used) echo 1024;;
  *memory.total) echo 81559;;
  *) echo "NVIDIA H100 80GB HBM3";;
esac
"""


class Answer:
    """A function of a library, whose type of answer can be said."""

    def __init__(self, value: int) -> None:
        self.value = value
        self.restype: object = None

    def __call__(self) -> int:
        return self.value


def driver_version(version: Any) -> int:  # noqa: ANN401 - ctypes does not name what `byref` makes
    version._obj.value = 13000
    return 0


def library(_: str) -> SimpleNamespace:
    """A driver and two libraries in one."""
    return SimpleNamespace(
        cuDriverGetVersion=driver_version, cudnnGetVersion=Answer(92801), cublasLtGetVersion=Answer(130002)
    )


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with a card, whose driver `ldconfig` does not list."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("card")
def test_a_driver_that_only_the_loader_finds_is_a_driver() -> None:
    assert gpu.present()


@pytest.mark.usefixtures("card")
def test_a_result_names_the_card_and_what_is_under_it() -> None:
    assert results.describe()["device"] == {
        "name": "NVIDIA H100 80GB HBM3",
        "driver": "580.95.05",
        "memory": "81559",
        "cuda": "13.0",
        "cudnn": "9.28.1",
        "cublas": "13.0.2",
    }
    assert gpu.memory_bytes() == 2**30


@pytest.mark.usefixtures("no_card")
def test_without_a_card_a_result_says_nothing_of_one() -> None:
    assert gpu.describe() == {}
    assert gpu.memory_bytes() is None
    assert "device" not in results.describe()


@pytest.mark.usefixtures("card")
def test_a_card_that_onnx_runtime_cannot_use_is_not_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("cuDNN is unavailable")

    packages.folder_of(cuda.NETWORK)  # written by a session, where no test has asked for it yet
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)
    cuda.main(["--quick", "--out", str(tmp_path)])
    assert "nothing was measured" in capsys.readouterr().out
