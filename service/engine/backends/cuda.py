"""Whether CUDA works in this process, found out once by a run, and whether it still does.

    first question ─▶ libraries loaded ─▶ a small graph is run on CUDA ─▶ the verdict, kept for the process
    a run failed   ─▶ a sticky error, or the small graph fails as well ─▶ the device is lost: the process has to end

A session that opens proves little: ONNX Runtime looks for cuDNN at the first convolution. After an error that CUDA
calls sticky every later call of the process fails, so only a new process can compute again.

References:
    CUDA Runtime API, `cudaError`: which errors leave "the process in an inconsistent state".
"""

import contextlib
import io
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnxruntime as ort

from service.engine.backends.nvidia import Nvidia
from service.engine.config import CUDA
from service.engine.model_spec import DeviceReport
from service.errors import SessionFailed

# The list of cuDNN's plans of which a convolution takes the first: of its fast heuristic, or of its thorough one.
ConvSearch = Literal["HEURISTIC", "EXHAUSTIVE"]
_OPTIONS: Final = {
    "use_tf32": "0",  # golden tolerances are stated for fp32
    # Its fused path clears memory on another stream than the one that computes (ONNX Runtime 1.31).
    "fuse_conv_bias": "0",
    "prefer_nhwc": "0",
    # Powers of two would take up to twice the memory of each of the many sessions.
    "arena_extend_strategy": "kSameAsRequested",
}
# cuBLAS and cuDNN read it once, when they are loaded: ONNX Runtime asks cuDNN for TF32 where no other plan is found.
TF32_VARIABLE: Final = "NVIDIA_TF32_OVERRIDE"
# A convolution, a transposed one and a matrix product, of 4 channels and such weights that ones give 2 and 6 each: the
# sum of 4 × 8 × 8 sixes is exact in every precision and order. `tests/support/cuda.py` wrote it.
SMOKE_GRAPH: Final = Path(__file__).with_name("smoke_run.onnx")
SMOKE_INPUT_SHAPE: Final = (1, 4, 4, 4)
SMOKE_ANSWER: Final = 6 * 4 * 8 * 8
LOG_FATAL: Final = 4
FAILURE: Final = re.compile(r"\b(CU[A-Z_]+) (?:failure|error) (\d+)\b")
# Memory that no longer holds what it should, and launches that ended the context.
STICKY_ERRORS: Final = frozenset({214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721})
# A graph may refuse some inputs, and each caller may send them; so many in a row ask for a second opinion.
MOST_FAILURES: Final = 8
MOST_WORDS: Final = 300  # characters of a library's own words

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether CUDA works here.

    Attributes:
        device: that works; None where none does.
        problem: why not, and what to do about it; empty where it works.
        is_expected: whether nothing of CUDA is here, as on a host without a GPU.
    """

    device: DeviceReport | None
    problem: str = ""
    is_expected: bool = False


class ProcessCuda:
    """CUDA as one process has it; any thread may ask.

    Args:
        nvidia: what can be loaded.

    Attributes:
        on_lost: called once, from the thread of the run that showed it, when the device is lost.
    """

    def __init__(self, nvidia: Nvidia | None = None) -> None:
        self.on_lost: Callable[[], None] | None = None
        self._nvidia = nvidia or Nvidia()
        self._lock = threading.Lock()
        self._verdict: Verdict | None = None
        self._failures = 0
        self._is_lost = False
        self._has_explained = False

    @property
    def verdict(self) -> Verdict:
        """Whether CUDA works; the first question loads its libraries, runs a graph and writes a log line."""
        with self._lock:
            if self._verdict is None:
                self._verdict = self._judge()
            return self._verdict

    @property
    def is_unusable(self) -> bool:
        """Whether there is a driver, and CUDA was found not to work; no where it has not been asked for."""
        verdict = self._verdict
        return verdict is not None and bool(verdict.problem) and not verdict.is_expected

    def is_chosen(self) -> bool:
        """Whether graphs that any device may run are run on CUDA; a log line says once why they are not."""
        verdict = self.verdict
        with self._lock:
            explains, self._has_explained = bool(verdict.problem) and not self._has_explained, True
        if explains:
            level = logging.INFO if verdict.is_expected else logging.WARNING
            _log.log(level, "CUDA is not usable: %s; all graphs run on the CPU", verdict.problem)
        return not verdict.problem

    def run_passed(self) -> None:
        """Note a run on the device that gave its outputs."""
        self._failures = 0

    def run_failed(self, error: Exception) -> None:
        """Note a run on the device that raised, and find out whether any other can pass."""
        with self._lock:
            self._failures += 1
            if self._is_lost:
                return
            failure = FAILURE.search(str(error))
            is_sticky = failure is not None and failure[1] == "CUDA" and int(failure[2]) in STICKY_ERRORS
            if not is_sticky:
                if failure is None and self._failures < MOST_FAILURES:
                    return
                self._failures = 0
                try:
                    smoke_run()
                except Exception as second:  # noqa: BLE001  (its exceptions share no base class)
                    error = second
                else:
                    return
            self._is_lost = True
        _log.error("the CUDA device is lost; only a new process can use it: %s", own_words(error))
        if self.on_lost is not None:
            self.on_lost()

    def _judge(self) -> Verdict:
        if CUDA not in ort.get_available_providers():
            problem = "this build of ONNX Runtime has no CUDA: install onnxruntime-gpu"
            return Verdict(None, problem, is_expected=True)
        if not self._nvidia.has_driver:
            return Verdict(None, next(self._nvidia.problems()), is_expected=True)
        os.environ.setdefault(TF32_VARIABLE, "0")
        _load_libraries()
        try:
            smoke_run()
        except Exception as error:  # noqa: BLE001  (its exceptions share no base class)
            problems = list(self._nvidia.problems()) or [f"a small graph does not run on it: {own_words(error)}"]
            return Verdict(None, "; ".join(problems))
        device = self._nvidia.describe()
        _log.info(
            "CUDA works: %s, driver %s, CUDA %s, cuDNN %s, cuBLAS %s",
            *(device.name, device.driver, device.cuda, device.cudnn, device.cublas),
        )
        return Verdict(device)


# Libraries are loaded, environment variables read and devices lost once for the whole process.
PROCESS = ProcessCuda()


def provider_options(conv_search: ConvSearch = "HEURISTIC", *, captures: bool = False) -> dict[str, str]:
    """What ONNX Runtime's CUDA provider is told, also where it is the default today."""
    options = {**_OPTIONS, "cudnn_conv_algo_search": conv_search}
    return {**options, "enable_cuda_graph": "1"} if captures else options


def smoke_run() -> None:
    """Run a convolution, a transposed one and a matrix product on CUDA, and nowhere else.

    Raises:
        SessionFailed: it gave a wrong answer, or ran elsewhere.
        Exception: whatever ONNX Runtime raises.
    """
    options = ort.SessionOptions()
    options.log_severity_level = LOG_FATAL
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    graph = SMOKE_GRAPH.read_bytes()
    session = ort.InferenceSession(graph, options, providers=[(CUDA, provider_options())], enable_fallback=0)
    (answer,) = session.run(None, {"x": np.ones(SMOKE_INPUT_SHAPE, np.float32)})
    if session.get_providers()[0] != CUDA:
        raise SessionFailed("ONNX Runtime does not offer CUDA, although it was built with it")
    if answer.tolist() != [[SMOKE_ANSWER]]:
        raise SessionFailed(f"a small graph answers {answer.tolist()} instead of {SMOKE_ANSWER}")


def own_words(error: BaseException) -> str:
    """What a library says of its error, on one line and without the place in its source."""
    words = " ".join(str(error).partition(" ; GPU=")[0].split())
    return words[:MOST_WORDS] or type(error).__name__


def _load_libraries() -> None:
    """Load the CUDA libraries; what ONNX Runtime prints of those that it cannot load goes to the log.

    Its default logger repeats in colours what its exceptions say.
    """
    ort.set_default_logger_severity(LOG_FATAL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    for line in printed.getvalue().splitlines():
        _log.info("ONNX Runtime: %s", line)
