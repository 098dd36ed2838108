"""CUDA works where a small graph runs on it, and is lost where none can any more."""

import os
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from service.engine.backends import cuda
from service.engine.backends.cuda import MOST_FAILURES, SMOKE_ANSWER, SMOKE_GRAPH, SMOKE_INPUT_SHAPE
from service.engine.backends.onnxruntime import Session
from service.engine.config import CPU, CUDA, Device
from service.errors import GraphRefused
from tests.support.cuda import DEVICE, fake_cuda, needs_cuda, smoke_graph
from tests.support.device import Failure, cuda_error
from tests.support.graph_makers import identity


def session(device: Device) -> Session:
    return Session("generator", identity(), device, threads=1)


def lost(process: cuda.ProcessCuda) -> list[str]:
    """Notes the loss of the device."""
    noted: list[str] = []
    process.on_lost = lambda: noted.append("lost")
    return noted


def test_the_smoke_runs_graph_is_the_one_that_its_maker_writes() -> None:
    assert onnx.load_from_string(SMOKE_GRAPH.read_bytes()) == onnx.load_from_string(smoke_graph())
    assert {node.op_type for node in onnx.load_from_string(smoke_graph()).graph.node} >= {"Conv", "ConvTranspose"}


def test_the_smoke_runs_answer_is_the_cpus() -> None:
    on_cpu = ort.InferenceSession(SMOKE_GRAPH.read_bytes(), providers=[CPU])
    (answer,) = on_cpu.run(None, {"x": np.ones(SMOKE_INPUT_SHAPE, np.float32)})
    assert answer.tolist() == [[SMOKE_ANSWER]]


@needs_cuda
def test_the_smoke_run_passes_on_a_card() -> None:
    cuda.smoke_run()


def test_the_verdict_is_found_once_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    card = fake_cuda(monkeypatch)
    assert not cuda.PROCESS.is_unusable  # not asked for yet
    assert cuda.PROCESS.verdict.device == DEVICE
    assert not cuda.PROCESS.is_unusable
    assert cuda.PROCESS.verdict.problem == ""
    assert len(card.opened) == card.runs == 1


def test_without_cudnn_all_graphs_run_on_the_cpu_and_one_warning_names_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session opens without cuDNN, and says CUDA; its first convolution raises."""
    fake_cuda(monkeypatch, missing=["libcudnn.so.9"], fails_after=0, failure="no_cudnn")
    assert [session("auto").provider, session("auto").provider] == [CPU, CPU]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "libcudnn.so.9 cannot be loaded: install nvidia-cudnn-cu" in warning.getMessage()
    assert "all graphs run on the CPU" in warning.getMessage()
    assert cuda.PROCESS.is_unusable


def test_without_cudnn_a_graph_is_refused_where_cuda_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, missing=["libcudnn.so.9"], fails_after=0, failure="no_cudnn")
    with pytest.raises(
        GraphRefused, match=r"CUDA is not usable: libcudnn\.so\.9 cannot be loaded: install nvidia-cudnn"
    ):
        session("cuda")


def test_where_no_library_is_missing_the_runtimes_own_words_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, fails_after=0, failure="no_plan")
    assert "GRAPH_NOT_SUPPORTED" in cuda.PROCESS.verdict.problem


def test_a_runtime_that_takes_the_cpu_instead_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, opens=False)
    assert "does not offer CUDA" in cuda.PROCESS.verdict.problem


def test_a_host_without_a_driver_is_not_warned_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card = fake_cuda(monkeypatch, missing=["libcuda.so.1"])
    assert session("auto").provider == CPU
    assert [names for names, _, _ in card.opened] == [[CPU]]
    assert not cuda.PROCESS.is_unusable
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_tf32_is_off_before_the_libraries_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    found: list[str | None] = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: found.append(os.environ.get("NVIDIA_TF32_OVERRIDE")))
    assert cuda.PROCESS.verdict.device is not None
    assert found == ["0"]


def test_an_operator_may_turn_tf32_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert cuda.PROCESS.verdict.device is not None
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_what_the_runtime_prints_of_libraries_is_logged_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    fake_cuda(monkeypatch)
    for _ in range(2):
        session("auto")
    assert caplog.text.count("ONNX Runtime: Failed to load libfake.so") == 1
    assert capsys.readouterr().out == ""


def failing(times: int, error: Callable[[], Exception]) -> list[str]:
    noted = lost(cuda.PROCESS)
    for _ in range(times):
        cuda.PROCESS.run_failed(error())
    return noted


@pytest.mark.parametrize(
    "words",
    [
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h",
        "CUDA failure 719: unspecified launch failure ; GPU=0",
        "CUDA failure 214: uncorrectable ECC error encountered",
    ],
)
def test_after_a_sticky_error_the_device_is_lost(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    fake_cuda(monkeypatch)
    assert failing(3, lambda: RuntimeError(words)) == ["lost"]


@pytest.mark.parametrize("failure", ["no_plan", "out_of_memory"])
def test_a_device_that_still_passes_the_smoke_run_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, failure: Failure
) -> None:
    card = fake_cuda(monkeypatch)
    assert failing(3 * MOST_FAILURES, lambda: cuda_error(failure)) == []
    assert card.runs >= 3


def test_so_many_failures_in_a_row_and_a_failed_smoke_run_are_a_lost_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, fails_after=0, failure="out_of_memory")
    assert failing(MOST_FAILURES - 1, lambda: RuntimeError("no words of CUDA")) == []
    cuda.PROCESS.run_passed()
    assert failing(MOST_FAILURES - 1, lambda: RuntimeError("no words of CUDA")) == []
    assert failing(1, lambda: RuntimeError("no words of CUDA")) == ["lost"]


def test_failures_on_the_cpu_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    noted = lost(cuda.PROCESS)
    on_cpu = session("cpu")
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(Exception, match="session failed"):
            on_cpu.compute({"latent": np.zeros((1, 99), np.float32)}, ["sample"])
    assert noted == []


def test_a_session_says_what_of_it_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, cpu_operators=["GatherND", "Shape", "Shape"])
    assert session("cuda").cpu_operators == ("GatherND", "Shape")
    assert session("cpu").cpu_operators == ()
    assert session("cuda").provider == CUDA
