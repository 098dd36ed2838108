"""The machine of a run: recorded, compared in words, and refused only where the same bits were promised."""

import ctypes
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support import small
from training.data import DigitsConfig, digits
from training.errors import CheckpointError
from training.loop import machine, run
from training.loop.trainer import Trainer
from training.schedule import TrainerConfig
from training.state import checkpoint
from training.tables import Value

DIGITS = digits.load(DigitsConfig())
CPU = torch.device("cpu")
H100 = {"device": "NVIDIA H100 80GB HBM3", "torch": "2.13.0+cu130", "driver": "580.1", "CUDA": "13.0", "cuDNN": "92000"}


@pytest.fixture(autouse=True)
def switches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(machine.WORKSPACE, raising=False)
    yield
    machine.choose_arithmetic(TrainerConfig(total_samples=1))


def test_by_default_fp32_is_fp32_also_in_convolutions() -> None:
    machine.choose_arithmetic(TrainerConfig(total_samples=1))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    assert machine.WORKSPACE not in os.environ


def test_tf32_is_for_matrices_and_convolutions() -> None:
    machine.choose_arithmetic(TrainerConfig(total_samples=1, tf32=True))
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32


def test_a_deterministic_run_fixes_algorithms_and_workspace_unless_that_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    machine.choose_arithmetic(TrainerConfig(total_samples=1, deterministic=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ[machine.WORKSPACE] == ":4096:8"
    monkeypatch.setenv(machine.WORKSPACE, ":16:8")
    machine.choose_arithmetic(TrainerConfig(total_samples=1, deterministic=True))
    assert os.environ[machine.WORKSPACE] == ":16:8"


def test_a_machine_is_told_by_device_and_libraries() -> None:
    here = machine.describe(CPU)
    assert here["device"].startswith("a CPU with ")
    assert here["torch"] == torch.__version__


def test_the_driver_is_unknown_where_its_library_is_missing() -> None:
    assert machine.driver_version("libmissing.so.1") == "unknown"


@pytest.mark.parametrize(("begun", "found"), [(0, "580.65.06"), (9, "unknown")])
def test_the_driver_is_what_its_library_says(monkeypatch: pytest.MonkeyPatch, begun: int, found: str) -> None:
    class Library:
        def nvmlInit_v2(self) -> int:  # noqa: N802 - NVML's name
            return begun

        def nvmlSystemGetDriverVersion(  # noqa: N802 - NVML's name
            self, version: "ctypes.Array[ctypes.c_char]", _size: int
        ) -> int:
            version.value = b"580.65.06"
            return 0

        def nvmlShutdown(self) -> int:  # noqa: N802 - NVML's name
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    assert machine.driver_version() == found


def test_the_same_device_and_libraries_leave_no_doubt_whatever_the_driver() -> None:
    assert machine.compare(H100, {**H100, "driver": "581.0"}, deterministic=True) is None


def test_a_checkpoint_without_a_machine_leaves_none_either() -> None:
    assert machine.compare({}, H100, deterministic=True) is None


def test_another_library_is_named_and_refused_only_where_bits_were_promised() -> None:
    newer = {**H100, "cuDNN": "92400"}
    assert machine.compare(H100, newer, deterministic=False) == (
        "cuDNN was 92000 and is 92400: from here on the run is not exactly what it would have been without the "
        "interruption"
    )
    with pytest.raises(CheckpointError, match=r"cuDNN was 92000 and is 92400: a run with \[trainer\] deterministic"):
        machine.compare(H100, newer, deterministic=True)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_that_began_on_a_card_says_so_when_it_goes_on_without(tmp_path: Path, *, deterministic: bool) -> None:
    config = small.config(trainer={"total_samples": 32, "deterministic": deterministic})
    run.start(config, tmp_path / "run", lambda _: None)
    saved = checkpoint.read(tmp_path / "run")
    assert saved["machine"] == machine.describe(CPU)
    checkpoint.save(tmp_path / "run", {**saved, "machine": H100})
    said: list[str] = []
    if deterministic:
        with pytest.raises(CheckpointError, match="device was NVIDIA H100 80GB HBM3 and is a CPU with"):
            run.resume(tmp_path / "run", said.append)
    else:
        run.resume(tmp_path / "run", said.append)
        assert said[0].startswith("note: device was NVIDIA H100 80GB HBM3 and is a CPU with ")


EVERY_KIND: dict[str, dict[str, Value]] = {
    "generator": {"conditional": True},
    "augmentation": {"kind": "ada", "target": 0.01, "adjustment_samples": 160},
}


def resumed_and_whole(**changes: dict[str, Value]) -> tuple[checkpoint.Checkpoint, checkpoint.Checkpoint]:
    """The checkpoints of a run with and of one without an interruption in its middle."""
    config = small.config(**changes)
    config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, deterministic=True))
    whole, first, second = (Trainer(config, DIGITS) for _ in range(3))
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    second.restore(first.checkpoint()["state"])
    for _ in range(3):
        second.step()
    return second.checkpoint(), whole.checkpoint()


def same(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


@pytest.mark.parametrize("changes", [{}, EVERY_KIND], ids=["plain", "labels and augmentation"])
def test_a_deterministic_run_is_resumed_exactly(changes: dict[str, dict[str, Value]]) -> None:
    resumed, whole = resumed_and_whole(**changes)
    assert resumed["machine"] == whole["machine"]
    for part in ("generator_side", "critic_side", "ema", "augmentation"):
        assert same(resumed["state"][part], whole["state"][part])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("changes", [{}, EVERY_KIND], ids=["plain", "labels and augmentation"])
def test_a_deterministic_run_is_resumed_exactly_on_one_card(changes: dict[str, dict[str, Value]]) -> None:
    resumed, whole = resumed_and_whole(**changes)
    assert resumed["machine"]["device"] == torch.cuda.get_device_name()
    for part in ("generator_side", "critic_side", "ema", "augmentation"):
        assert same(resumed["state"][part], whole["state"][part])
