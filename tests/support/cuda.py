"""CUDA in tests: whether it works here, and a fake of `onnxruntime.InferenceSession` on a CUDA device.

    @needs_cuda         runs where the service's own smoke run passes
    @without_cuda       runs where it does not
    fake_cuda(patch)    ──▶ FakeCuda: sessions that report CUDA, compute on the CPU, and fail as configured

Shapes: B rows of a batch.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from service.engine.backends import cuda
from service.engine.backends.cuda import ProcessCuda
from service.engine.backends.nvidia import Nvidia
from service.engine.config import CPU, CUDA
from service.engine.model_spec import Array, DeviceReport, TensorSpec
from tests.support.device import Failure, cuda_error
from tests.support.toy_models import GraphWriter

CHANNELS, SIDE = 4, 8
DEVICE = DeviceReport(name="fake card", driver="580.1", cuda="13.0", cudnn="9.20.0", cublas="13.1.1")


def works_here() -> bool:
    """Whether the service would compute on CUDA in this process."""
    return cuda.PROCESS.verdict.device is not None


def needs_cuda(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test with `gpu`, and skip it where CUDA does not work."""
    skip = pytest.mark.skipif(not works_here(), reason=cuda.PROCESS.verdict.problem)
    marked: Callable[..., None] = pytest.mark.gpu(skip(test))
    return marked


def without_cuda(test: Callable[..., None]) -> Callable[..., None]:
    """Skip a test where CUDA works."""
    marked: Callable[..., None] = pytest.mark.skipif(works_here(), reason="CUDA works here")(test)
    return marked


def smoke_graph() -> bytes:
    """The graph of `service/engine/backends/smoke_run.onnx`; run this module to write it."""
    writer = GraphWriter(np.random.default_rng(0))
    ones = writer.node("Conv", "x", writer.constant(np.full((CHANNELS, CHANNELS, 1, 1), 0.5, np.float32)))
    kernel = writer.constant(np.full((CHANNELS, CHANNELS, 2, 2), 0.75, np.float32))
    flat = writer.node("Flatten", writer.node("ConvTranspose", ones, kernel, strides=[2, 2]))
    writer.node("MatMul", flat, writer.constant(np.ones((CHANNELS * SIDE * SIDE, 1), np.float32)), output="y")
    return writer.model(
        (TensorSpec("x", "FP32", (-1, CHANNELS, SIDE // 2, SIDE // 2), "sample"),),
        (TensorSpec("y", "FP32", (-1, 1), "logit"),),
    )


class FakeNvidia(Nvidia):
    """An installed driver, with these libraries missing."""

    def __init__(self, missing: Sequence[str] = ()) -> None:
        def open_library(name: str) -> object:
            if name in missing:
                raise OSError(name)
            return _Driver()

        super().__init__(open_library)

    def describe(self) -> DeviceReport:
        return DEVICE


class _Driver:
    def cuInit(self, _flags: int) -> int:  # noqa: N802  (the driver's own name)
        return 0


@dataclass
class FakeCuda:
    """A fake of `onnxruntime.InferenceSession` on a CUDA device; fields may be changed between runs.

    Attributes:
        opens: whether sessions are on CUDA; else they report the CPU, as where a library is missing.
        refuses: raised by opening a session on CUDA.
        fails_after: successful runs on CUDA, including the smoke run; None never fails.
        fails_from: once this file exists, all runs on CUDA fail.
        failure: raised by failing runs.
        cpu_operators: operators placed on the CPU.
        opened: (providers, CUDA options, enable_fallback) of each session.
        threads: ids of threads that opened or ran a session on CUDA.
        most_running: maximum of concurrent runs on CUDA.
    """

    opens: bool = True
    refuses: Exception | None = None
    fails_after: int | None = None
    fails_from: Path | None = None
    failure: Failure = "sticky"
    cpu_operators: Sequence[str] = ()
    opened: list[tuple[list[str], Mapping[str, str], bool]] = field(default_factory=list)
    runs: int = 0
    threads: set[int] = field(default_factory=set)
    running: int = 0
    most_running: int = 0
    real: Any = field(default=ort.InferenceSession, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open(
        self, model: bytes, options: ort.SessionOptions, providers: Sequence[Any], enable_fallback: int = 1
    ) -> Any:  # noqa: ANN401  (as onnxruntime has it)
        """As `onnxruntime.InferenceSession`."""
        names = [each if isinstance(each, str) else each[0] for each in providers]
        own: Mapping[str, str] = next((each[1] for each in providers if not isinstance(each, str)), {})
        self.opened.append((names, own, bool(enable_fallback)))
        if names[0] != CUDA:
            return self.real(model, options, providers=[CPU])
        self.threads.add(threading.get_ident())
        if self.refuses is not None:
            raise self.refuses
        plain = ort.SessionOptions()
        plain.intra_op_num_threads = 1
        return _Session(self, self.real(model, plain, providers=[CPU]), bool(enable_fallback))

    @property
    def is_broken(self) -> bool:
        """Whether `fails_from` exists."""
        return self.fails_from is not None and self.fails_from.exists()

    @contextmanager
    def a_run(self) -> Iterator[None]:
        """Record the thread and the number of concurrent runs."""
        with self._lock:
            self.threads.add(threading.get_ident())
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1

    def may_run(self) -> None:
        """Count a run on CUDA; raises where it is to fail."""
        self.runs += 1
        is_over = self.fails_after is not None and self.runs > self.fails_after
        if is_over or self.is_broken:
            raise cuda_error(self.failure)


class _Session:
    """A session on the fake device; with ONNX Runtime's fallback it continues on the CPU after an EPFail."""

    def __init__(self, card: FakeCuda, session: Any, enable_fallback: bool) -> None:  # noqa: ANN401
        self._card = card
        self._session = session
        self._enable_fallback = enable_fallback
        self._is_on_cuda = True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any attribute of a session)
        return getattr(self._session, name)

    def __del__(self) -> None:
        """Abort on a lost device, as a CUDA destructor may."""
        if self._card.is_broken:
            os.abort()

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self._is_on_cuda and self._card.opens else [CPU]

    def get_provider_graph_assignment_info(self) -> list["_Part"]:
        return [_Part(CPU, self._card.cpu_operators), _Part(CUDA, ["ConvTranspose"])]

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Array], options: object = None) -> list[Array]:
        if not self._is_on_cuda:
            return self._run(outputs, feeds, options)
        with self._card.a_run():
            try:
                self._card.may_run()
            except Exception as error:
                if not self._enable_fallback or type(error).__name__ != "EPFail":
                    raise
                self._is_on_cuda = False
            return self._run(outputs, feeds, options)

    def _run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Array], options: object) -> list[Array]:
        results: list[Array] = self._session.run(outputs, feeds, options)
        return results


@dataclass(frozen=True)
class _Part:
    ep_name: str
    operators: Sequence[str]

    def get_nodes(self) -> list["_Node"]:
        return [_Node(operator) for operator in self.operators]


@dataclass(frozen=True)
class _Node:
    op_type: str


def fake_cuda(
    patch: pytest.MonkeyPatch,
    missing: Sequence[str] = (),
    kind: type[FakeCuda] = FakeCuda,
    **fields: Any,  # noqa: ANN401  (of any type)
) -> FakeCuda:
    """Give this process a fake CUDA device.

    Args:
        patch: undoes it.
        missing: libraries that cannot be loaded.
        kind: class of the device.
        **fields: of the device.
    """
    card = kind(**fields)
    patch.setattr(ort, "InferenceSession", card.open)
    patch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    patch.setattr(ort, "preload_dlls", lambda: print("Failed to load libfake.so"))  # noqa: T201  (as it does)
    patch.setattr(ort, "set_default_logger_severity", lambda _: None)
    patch.setattr(cuda, "PROCESS", ProcessCuda(FakeNvidia(missing)))
    patch.setenv(cuda.TF32_VARIABLE, "0")  # as a test may leave it
    patch.delenv(cuda.TF32_VARIABLE)
    return card


# Read by every interpreter at its start, so that all processes of a service have the fake device.
CUSTOMIZED = """
import pytest
from pathlib import Path
from tests.support.cuda import fake_cuda

fake_cuda(pytest.MonkeyPatch(), fails_from=Path({switch!r}))
"""


def customize(folder: Path, switch: Path) -> str:
    """Write a `sitecustomize` with a fake CUDA device; returns the `PYTHONPATH` of processes that use it.

    Args:
        folder: of the module.
        switch: once this file exists, each run on the device fails with a sticky error.
    """
    (folder / "sitecustomize.py").write_text(CUSTOMIZED.format(switch=str(switch)))
    return os.pathsep.join((str(folder), str(Path(__file__).parents[2])))


if __name__ == "__main__":
    cuda.SMOKE_GRAPH.write_bytes(smoke_graph())
    sys.stdout.write(f"{cuda.SMOKE_GRAPH} {cuda.SMOKE_GRAPH.stat().st_size}\n")
