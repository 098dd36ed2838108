"""The stage `session`: whether graphs run on the device at all, where their nodes are, how far their answers stray.

On a card that has never run the service this is the stage that says what to mend first. It also takes cuDNN away and
asks for a session, and runs the tests that need a device.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from benchmarks.device import graphs
from benchmarks.device.graphs import PROVIDERS, Graph
from benchmarks.device.stage import Device, Notes, elsewhere
from benchmarks.workplace import ROOT

TF32_VARIABLE: Final = "NVIDIA_TF32_OVERRIDE"
CUDNN: Final = "libcudnn.so.9"
# Modules that the tests' own set-up imports.
OF_TESTS: Final = ("pytest", "pytest_timeout", "httpx", "pydantic_settings")
MARK: Final = re.compile(r"mark\.gpu\b|@needs_cuda\b")
TESTS_TIMEOUT_S: Final = 60.0
WRONG: Final = "WRONG"  # how an outcome begins that must not be
WAYS_TO_ASK: Final = ("cuda", "auto")
# pytest's exit codes: all passed, and none was there to be run.
PASSED: Final = (0, 5)


def measure_session(notes: Notes) -> None:
    """Open and run every graph of the shipped packages and the timed generators."""
    device = notes.terms.device
    if device == "cuda":
        problem = notes.attempt("canary", elsewhere, graphs.cuda_problem, {})
        notes.row("canary", problem=problem)
        notes.say(f"canary: {problem or 'CUDA works'}")
    else:
        notes.skip("canary", "no CUDA device")
    notes.attempt("placement", _placements, notes)
    for allowed in notes.terms.pick((False, True), (False,)):
        notes.attempt(f"deviation, TF32 {'not ' if not allowed else ''}allowed", _deviations, notes, tf32=allowed)
    if device == "cuda":
        for asked in WAYS_TO_ASK:
            notes.attempt(f"without cuDNN, {asked}", _without_cudnn, notes, asked)
    else:
        notes.skip("TF32 and cuDNN taken away", "no CUDA device")
    notes.attempt("tests", _tests, notes)


def _placements(notes: Notes) -> None:
    """Which provider runs each node of each graph."""
    there, everywhere = 0, 0
    wanted = PROVIDERS[notes.terms.device]
    for graph in (graph for package in graphs.packages() for graph in package):
        session = graphs.of_library(graph, notes.terms.device, entries=graphs.TELL_PLACEMENT)
        nodes = placement(session)
        session.run(None, graph.feeds(1))
        found = graphs.of_service(graph, notes.terms.device).provider
        notes.row("placement", graph=graph.name, provider=found, nodes=dict(nodes))
        everywhere += sum(nodes.values())
        there += nodes[wanted] if found == wanted else 0
        if set(nodes) != {wanted} or found != wanted:
            notes.say(f"{graph.name}: the service's session is on {found}, nodes {dict(nodes)}")
    notes.say(f"{there} of {everywhere} nodes on {wanted}")
    if notes.terms.device == "cuda":
        notes.figure("share_on_device", there / everywhere)


def placement(session: ort.InferenceSession) -> Counter[str]:
    """Provider → nodes, of a session that was opened to tell."""
    return Counter(
        {
            provider: sum(len(part.get_nodes()) for part in parts)
            for provider, parts in _by_provider(session).items()
        }
    )  # fmt: skip


def _by_provider(session: ort.InferenceSession) -> dict[str, list[ort.InferenceSession]]:
    found: dict[str, list[ort.InferenceSession]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, []).append(part)
    return found


def _deviations(notes: Notes, *, tf32: bool) -> None:
    # Read by cuBLAS and cuDNN when they are loaded, so a process of its own is asked.
    environment = {} if notes.terms.device == "cpu" else {TF32_VARIABLE: "1" if tf32 else "0"}
    found = elsewhere(deviations, environment, notes.terms.device)
    for name, (deviation, pixels) in found.items():
        notes.row("deviation", graph=name, tf32=tf32, largest=deviation, pixels=pixels)
    largest = max(deviation for deviation, _ in found.values())
    notes.say(f"largest deviation from golden outputs, TF32 {'' if tf32 else 'not '}allowed: {largest:.2e}")
    if not tf32:
        notes.figure("deviation", largest)


def deviations(device: Device) -> dict[str, tuple[float, int]]:
    """How far the service's sessions stray from the golden outputs.

    Returns:
        Graph → largest difference of real outputs, and of pixels or ids; of a batch-coupled graph all rows together.
    """
    return {graph.name: _deviation(graph, device) for package in graphs.packages() for graph in package}


def _deviation(graph: Graph, device: Device) -> tuple[float, int]:
    session = graphs.of_service(graph, device)
    answers = session.compute(graph.feeds(graph.golden_rows), graph.outputs)
    largest = {True: 0.0, False: 0.0}
    for name, answer in answers.items():
        golden = graph.spec.golden[name]
        difference = float(np.max(np.abs(answer.astype(np.float64) - golden.astype(np.float64))))
        is_real = bool(np.issubdtype(golden.dtype, np.floating))
        largest[is_real] = max(largest[is_real], difference)
    return largest[True], int(largest[False])


def _without_cudnn(notes: Notes, asked: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CUDNN).write_bytes(b"")
        path = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        outcome = elsewhere(outcome_without_cudnn, {"LD_LIBRARY_PATH": path}, asked)
    notes.row("without cuDNN", asked=asked, outcome=outcome)
    notes.say(f"without cuDNN, asked for {asked}: {outcome}"[:180])
    if outcome.startswith(WRONG):
        raise RuntimeError(outcome)


def outcome_without_cudnn(asked: str) -> str:
    """Open and run a session of the service where cuDNN cannot be loaded, and say what came of it.

    Returns:
        A refusal, an open session on the CPU, or what must not be: a session that says CUDA and cannot run.
    """
    preload = ort.preload_dlls
    ort.preload_dlls = lambda *_, **__: preload(cudnn=False)
    try:
        ctypes.CDLL(CUDNN)
    except OSError:
        pass
    else:
        return "not tried: cuDNN could not be hidden"
    graph = graphs.read(Path(graphs.folder_of("mnist") or ""))[0]
    try:
        session = graphs.of_service(graph, "cuda" if asked == "cuda" else "auto")  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - what it raises is the answer
        return f"refused: {error}"
    try:
        session.compute(graph.feeds(1), graph.outputs)
    except Exception as error:  # noqa: BLE001 - what it raises is the answer
        return f"{WRONG}: opened on {session.provider} and failed: {error.__cause__ or error}"
    return f"runs on {session.provider}"


def _tests(notes: Notes) -> None:
    """The tests that need a device; in a rehearsal they are skipped by their own check."""
    if absent := [name for name in OF_TESTS if find_spec(name) is None]:
        notes.skip("tests", f"no {', '.join(absent)}")
        return
    marked = [
        str(path)
        for folder in ("service", "training")
        for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))
        if MARK.search(path.read_text(encoding="utf-8"))
    ]
    done = subprocess.run(  # noqa: S603 - the harness's own command
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *marked],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=min(TESTS_TIMEOUT_S, notes.terms.left_s),
    )  # fmt: skip
    sys.stdout.write(done.stdout + done.stderr)
    words = done.stdout.strip().splitlines()
    notes.row("tests", files=len(marked), exit_code=done.returncode, words=words[-1] if words else "")
    notes.say(f"tests that need a device: {words[-1] if words else done.returncode}")
    if done.returncode not in PASSED:
        raise RuntimeError(f"tests that need a device failed: {words[-1] if words else done.returncode}")
