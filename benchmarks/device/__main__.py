"""`python -m benchmarks.device STAGE… --out DIR [--rehearse]`: each stage in a process and a time limit of its own.

    env train-speed resume probe │ session invariance cost ceiling │ promise serve life │ graph-train

The stages stand in four groups, which are the calls to a machine that is lent for minutes. With `--rehearse` the same
code runs on the CPU. The last line is the pass marks; with `--earlier DIR` also from what former calls left, and with
the word `marks` in place of stages from that alone.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Final

from benchmarks import gpu
from benchmarks.device import marks
from benchmarks.device.stage import MOST_LINES, Notes, Terms
from benchmarks.workplace import ROOT, command, prepare

# A stage that did not end by its own clock is ended so much later, and killed if it does not end then: servers that it
# started are given their time.
GRACE_S: Final = 10.0
ENDING_S: Final = 25.0
REHEARSED_LIMIT_S: Final = 60.0
MARKS_ALONE: Final = "marks"
# One thread: on few cores, threads that wait for each other take longer than the work.
ON_THE_CPU: Final = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
TORCH: Final = ("numpy", "torch", "accelerate")
RUNTIME: Final = ("numpy", "onnxruntime")
SERVICE: Final = (*RUNTIME, "onnx", "fastapi", "uvicorn", "pydantic_settings", "structlog", "prometheus_client")


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        module: in this room; its function `measure_NAME` measures.
        limit_s: on a card.
        needs: modules that must be installed.
        programs: that must be installed.
    """

    module: str
    limit_s: float
    needs: tuple[str, ...]
    programs: tuple[str, ...] = ()


STAGES: Final = {
    "env": Stage("environment", 45, ("numpy",)),
    "train-speed": Stage("train_speed", 170, TORCH),
    "resume": Stage("train_state", 110, TORCH),
    "probe": Stage("train_state", 40, (*TORCH, "scipy")),
    "session": Stage("session", 80, RUNTIME),
    "invariance": Stage("invariance", 120, RUNTIME),
    "cost": Stage("runs", 80, RUNTIME),
    "ceiling": Stage("runs", 140, RUNTIME),
    "promise": Stage("service", 80, SERVICE),
    "serve": Stage("service", 260, SERVICE, ("wrk",)),
    "life": Stage("service", 90, SERVICE),
    "graph-train": Stage("train_speed", 100, TORCH),
}


def main(arguments: Sequence[str]) -> int:
    """Run stages, and judge them.

    Returns:
        1 if a stage or a mark failed, else 0.
    """
    parser = command("device", __doc__, "--out /tmp/device --rehearse")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {' '.join(STAGES)}; all without any; or marks")
    parser.add_argument("--out", type=Path, required=True, help="folder for the notes")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in less than two minutes")
    parser.add_argument("--earlier", type=Path, action="append", default=[], help="folder of a former call")
    parser.add_argument("--within", type=float, help=argparse.SUPPRESS)  # seconds: this process is the stage's own
    asked = parser.parse_args(arguments)
    if unknown := sorted({*asked.stages} - {*STAGES, MARKS_ALONE}):
        parser.error(f"no stage is called {', '.join(unknown)}; there are {', '.join(STAGES)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.within is not None:
        return run_here(asked.stages[0], asked.out, asked.within, rehearse=asked.rehearse)
    prepare()
    names = [name for name in STAGES if name in asked.stages] if asked.stages else list(STAGES)
    began_s = time.monotonic()
    well = [run(name, asked.out, rehearse=asked.rehearse) for name in names]
    line, failed = marks.line(marks.read([asked.out, *asked.earlier]))
    sys.stdout.write(f"{sum(well)} of {len(names)} stages done in {time.monotonic() - began_s:.0f} s\n{line}\n")
    return 0 if all(well) and not failed else 1


def run(name: str, out: Path, *, rehearse: bool) -> bool:
    """Run one stage in a process of its own, and print what it says.

    Args:
        name: of the stage.
        out: folder for its notes, and for the words of all stages.
        rehearse: on the CPU.

    Returns:
        Whether it was done, or could not be done here and says why.
    """
    limit_s = REHEARSED_LIMIT_S if rehearse else STAGES[name].limit_s
    command = [sys.executable, "-u", "-m", "benchmarks.device", name, "--out", str(out), "--within", str(limit_s)]
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
    if rehearse:
        command.append("--rehearse")
        environment |= ON_THE_CPU
    path = out / f"{name}.json"
    path.unlink(missing_ok=True)
    with (out / "device.log").open("ab") as log:
        log.write(f"\n== {name}\n".encode())
        log.flush()
        child = subprocess.Popen(  # noqa: S603 - the harness's own command
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            child.wait(limit_s + GRACE_S)
        except subprocess.TimeoutExpired:
            _end(child)
    nothing = '{"status": "left nothing"}'
    notes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8") if path.is_file() else nothing)
    status = str(notes["status"])
    if child.returncode != 0 and status in {"not finished", "left nothing"}:
        status = f"{status}: ended by {child.returncode}"
    troubles = [f"failed: {part}: {why}" for part, why in notes.get("failed", {}).items()]
    skipped = [f"skipped: {', '.join(notes['skipped'])}"] if notes.get("skipped") else []
    lines = [f"== {name}: {status}, {notes.get('seconds', 0):.0f} s", *troubles[:4], *notes.get("lines", []), *skipped]
    sys.stdout.writelines(f"{line[:200]}\n" for line in lines[:MOST_LINES])
    sys.stdout.flush()
    return status == "done" or status.startswith("not possible here")


def run_here(name: str, out: Path, limit_s: float, *, rehearse: bool) -> int:
    """Run one stage in this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    stage, terms = STAGES[name], Terms(out=out, rehearse=rehearse, ends_s=time.monotonic() + limit_s)
    notes = Notes(name, terms)
    if lacking := _lacking(stage, terms):
        notes.end(f"not possible here: {lacking}")
        return 0
    try:
        measure = getattr(import_module(f"benchmarks.device.{stage.module}"), f"measure_{name.replace('-', '_')}")
        notes.attempt(name, measure, notes)
    except BaseException:
        notes.end("ended before it was done")
        raise
    notes.end("failed" if notes.failed else "done")
    return 1 if notes.failed else 0


def _lacking(stage: Stage, terms: Terms) -> str:
    """What a stage needs and this machine has not; empty where it has all."""
    lacking = [module for module in stage.needs if find_spec(module) is None]
    lacking += [program for program in stage.programs if which(program) is None]
    if lacking:
        return f"no {', '.join(lacking)}"
    if terms.rehearse:
        return ""
    if not gpu.present():
        return "no CUDA device"
    if "torch" in stage.needs and not import_module("torch").cuda.is_available():
        return "torch finds no CUDA device"
    if "onnxruntime" in stage.needs:
        available = import_module("onnxruntime").get_available_providers()
        return "" if "CUDAExecutionProvider" in available else "ONNX Runtime was built without CUDA"
    return ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a stage with everything that it started in its session."""
    for how, patience_s in ((signal.SIGTERM, ENDING_S), (signal.SIGKILL, ENDING_S)):
        os.killpg(child.pid, how)
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
