"""The acceptance script: its rehearsal on the CPU, and what it makes of a card that fails, as a fake shows it."""

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.device import __main__ as script
from benchmarks.device import graphs, marks, runs, session
from benchmarks.device.invariance import groups, try_size
from benchmarks.device.optional import Missing, StandIn
from benchmarks.device.stage import MOST_LINES, Notes, Terms, elsewhere, fresh_process
from benchmarks.workplace import ROOT
from service.engine.loading.golden import largest_difference
from tests.support.device import FakeDevice

# What a rehearsal can pass; of a card it says nothing.
ANYWHERE = {mark.name for mark in marks.MARKS if mark.anywhere}
STEP = "print(benchmarks.device.train_state.repeat_and_resume('ada-digits', 4, 1, deterministic=True)[:2])\n"
ABSENT = (
    "sklearn", "scipy", "tqdm", "tensorboard", "matplotlib", "jsonschema", "onnxscript", "threadpoolctl", "PIL", "onnx",
    "fastapi", "pydantic", "pydantic_settings", "starlette", "uvicorn", "structlog", "prometheus_client", "httpx",
)  # fmt: skip


def notes_in(folder: Path, name: str = "cost", left_s: float = 60.0) -> Notes:
    return Notes(name, Terms(out=folder, rehearse=True, ends_s=time.monotonic() + left_s))


@pytest.mark.slow
def test_the_rehearsal_goes_through_every_stage_and_passes_what_a_cpu_can_show(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.device", "--out", str(tmp_path), "--rehearse"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + (tmp_path / "device.log").read_text()
    stages = marks.read([tmp_path])
    assert list(script.STAGES) == [name for name in script.STAGES if name in stages]
    for name, notes in stages.items():
        assert notes["status"] in {"done", "not possible here: no wrk"}, name
        assert notes["rehearsal"]
        assert notes["failed"] == {}
    *lines, last = done.stdout.splitlines()
    for told in "\n".join(lines).split("\n== "):
        assert len(told.splitlines()) <= MOST_LINES + 1  # the count of stages stands behind the last one
    verdicts = {mark.name: marks.judge(mark, stages)[0] for mark in marks.MARKS}
    assert {name for name, verdict in verdicts.items() if verdict == "pass"} == ANYWHERE
    assert {name for name, verdict in verdicts.items() if verdict == "fail"} == set()
    assert all(f"{name}: {verdict}" in last for name, verdict in verdicts.items())


def test_a_stage_that_does_not_end_is_ended_and_the_script_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "REHEARSED_LIMIT_S", 0.0)
    monkeypatch.setattr(script, "GRACE_S", 0.01)
    assert script.main(["env", "--out", str(tmp_path), "--rehearse"]) == 1
    told = capsys.readouterr().out
    assert "== env: left nothing: ended by" in told
    assert "0 of 1 stages done" in told


def test_a_stage_whose_dependency_is_absent_says_so_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        script, "STAGES", {"env": script.Stage("environment", 10, ("no_such_module",), ("no-program",))}
    )
    assert script.run_here("env", tmp_path, 10, rehearse=True) == 0
    status = json.loads((tmp_path / "env.json").read_text())["status"]
    assert status == "not possible here: no no_such_module, no-program"
    assert capsys.readouterr().out == ""


def test_without_a_card_its_stages_are_not_done_and_their_marks_are_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in script.STAGES:
        assert script.run_here(name, tmp_path, 10, rehearse=False) == 0
        assert json.loads((tmp_path / f"{name}.json").read_text())["status"].startswith("not possible here: no ")
    line, failed = marks.line(marks.read([tmp_path]))
    assert failed == []
    assert line.count("not measured") == len(marks.MARKS)


def test_a_part_that_fails_costs_itself_alone(tmp_path: Path) -> None:
    notes = notes_in(tmp_path)

    def fails() -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    assert notes.attempt("first", fails) is None
    assert notes.attempt("second", lambda: 7) == 7
    notes.row("runs", size=8)
    written = json.loads((tmp_path / "cost.json").read_text())
    assert list(written["failed"]) == ["first"]
    assert "CUDA failure 700" in written["failed"]["first"]
    assert written["tables"] == {"runs": [{"size": 8}]}


def test_a_part_for_which_no_time_is_left_is_not_begun(tmp_path: Path) -> None:
    notes = notes_in(tmp_path, left_s=1.0)
    assert notes.attempt("late", lambda: 7) is None
    assert json.loads((tmp_path / "cost.json").read_text())["skipped"] == {"late": "no time was left"}


def stages(rehearsal: bool, **figures: Mapping[str, float]) -> dict[str, dict[str, object]]:
    return {stage: {"rehearsal": rehearsal, "figures": found} for stage, found in figures.items()}


def test_marks_are_judged_by_figures_of_several_stages() -> None:
    mark = next(mark for mark in marks.MARKS if mark.name == "g64 n=16 ≥ 60 %")
    figures = stages(False, serve={"g64_n16": 30_000.0}, ceiling={"g64_plain": 40_000.0})
    assert marks.judge(mark, figures) == ("pass", 0.75)
    assert marks.judge(mark, stages(False, serve={"g64_n16": 30_000.0})) == ("not measured", None)
    slow = stages(False, serve={"g64_n16": 10_000.0}, ceiling={"g64_plain": 40_000.0})
    line, failed = marks.line(slow)
    assert failed == [mark.name]
    assert "g64 n=16 ≥ 60 %: fail (0.25)" in line


def test_a_rehearsals_times_are_no_cards() -> None:
    times = stages(True, ceiling={"buckets_of_as_they_come": 9.0}, promise={"differing": 0.0})
    verdicts = {mark.name: marks.judge(mark, times)[0] for mark in marks.MARKS}
    assert verdicts["buckets ≥ 3 × as they come"] == "not measured"
    assert verdicts["promise"] == "pass"


def test_of_a_stage_that_ran_twice_the_newer_notes_count(tmp_path: Path) -> None:
    for folder, differing in (("new", 0), ("old", 3)):
        (tmp_path / folder).mkdir()
        notes = notes_in(tmp_path / folder, "promise")
        notes.figure("differing", differing)
    found = marks.read([tmp_path / "new", tmp_path / "old"])
    assert found["promise"]["figures"] == {"differing": 0}


def mnist() -> graphs.Graph:
    found = graphs.generator("mnist")
    assert found is not None
    return found


def test_sizes_that_disagree_stand_in_different_groups() -> None:
    graph, device = mnist(), FakeDevice(agreeing=[{1}, {2, 4}, {8, 16}])
    trials = [try_size(device.session(graph.spec), graph, size, 4) for size in (1, 2, 4, 8, 16)]
    assert groups(trials) == [[8, 16], [2, 4], [1]]


def test_a_size_that_is_not_steady_is_found_by_enough_repeats_and_is_in_no_group() -> None:
    graph, device = mnist(), FakeDevice(unsteady={8: 50})
    few, many = (try_size(device.session(graph.spec), graph, 8, repeats) for repeats in (2, 100))
    assert few.answers == 1
    assert many.answers == 2
    assert groups([many]) == []


def test_a_package_is_read_without_the_services_reader() -> None:
    graph = mnist()
    assert graph.outputs == ["sample", "pixels"]
    assert graph.feeds(40)["latent"].shape == (40, 64)
    answers = graphs.of_service(graph, "cpu").compute(graph.feeds(graph.golden_rows), graph.outputs)
    assert largest_difference(answers["sample"], graph.spec.golden["sample"]) < 1e-4


class HostRuntime:
    """CUDA's runtime library, where the host's memory is the device's."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.copied = 0

    def cudaHostAlloc(self, address: Any, size: ctypes.c_size_t, _: int) -> int:  # noqa: ANN401, N802 - CUDA's
        self.kept.append(memory := (ctypes.c_uint8 * size.value)())
        address._obj.value = ctypes.addressof(memory)
        return 0

    def cudaMemcpy(  # noqa: N802 - CUDA's name
        self, target: ctypes.c_void_p, source: ctypes.c_void_p, size: ctypes.c_size_t, _: ctypes.c_int
    ) -> int:
        ctypes.memmove(target, source, size.value)
        self.copied += size.value
        return 0


def test_every_way_to_run_a_graph_copies_what_it_should_and_gives_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = HostRuntime()
    monkeypatch.setattr(graphs, "cuda_runtime", lambda: runtime)
    graph = mnist()
    plain = runs.runner(graph, "cpu", runs.WAYS[0], 4)().tobytes()
    for way in runs.WAYS:
        run = runs.runner(graph, "cpu", way, 4)
        assert [run().tobytes() for _ in range(2)] == [plain, plain], way.name
    # Of two ways that pin: latents of 64 floats, labels of 8 bytes, pixels; four of them, twice.
    assert runtime.copied == 2 * 2 * 4 * (64 * 4 + 8 + 28 * 28)


@pytest.mark.parametrize(
    ("asked", "outcome"), [("cuda", "refused: generator"), ("auto", "runs on CPUExecutionProvider")]
)
def test_without_cudnn_the_service_refuses_or_computes_openly_on_the_cpu(asked: str, outcome: str) -> None:
    assert elsewhere(session.outcome_without_cudnn, {"CUDA_VISIBLE_DEVICES": ""}, asked).startswith(outcome)


@pytest.mark.parametrize("module", ["session", "invariance", "runs", "train_speed", "train_state"])
def test_the_graphs_and_the_trainer_need_little_more_than_numpy_onnx_runtime_and_torch(module: str) -> None:
    program = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class Here(PathFinder):\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        return None if name.partition('.')[0] in {ABSENT!r} else PathFinder.find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Here\n"
        f"import benchmarks.device.{module}\n"
        f"{STEP if module == 'train_state' else ''}"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stand_in_can_be_named_and_says_what_is_missing_when_it_is_used() -> None:
    absent = StandIn("sklearn.datasets")
    with pytest.raises(Missing, match=r"sklearn is not installed, and sklearn\.datasets\.load_digits was needed"):
        absent.load_digits()
    assert isinstance(absent.Bunch, type)


def environment_of(name: str) -> str | None:
    import os  # noqa: PLC0415 - of the other process

    return os.environ.get(name)


def test_a_fresh_process_reads_its_environment_anew_and_leaves_ours_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with fresh_process({"NVIDIA_TF32_OVERRIDE": "0"}) as process:
        assert process.submit(environment_of, "NVIDIA_TF32_OVERRIDE").result() == "0"
        assert environment_of("NVIDIA_TF32_OVERRIDE") is None
    assert elsewhere(environment_of, {}, "NVIDIA_TF32_OVERRIDE") is None
