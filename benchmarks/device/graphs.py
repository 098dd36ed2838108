"""The graphs that are run on the device, and the ways to run them: the service's session, and ONNX Runtime alone.

    host ──copy──▶ buffer of the device ──BoundRun──▶ buffer of the device ──copy──▶ host

Packages are read here by themselves, because the service's reader needs packages that a borrowed machine may not have.

Shapes: B batch, G golden rows.
"""

import ctypes
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.contenders import bare
from benchmarks.device.stage import Device
from benchmarks.workplace import MODELS, ROOT
from service.engine.backends import cuda
from service.engine.backends.onnxruntime import Session
from service.engine.loading.conv_transpose import as_convolutions
from service.engine.loading.graph_forms import AS_STATED, GraphForm
from service.engine.model_spec import Feeds, GraphKind, GraphSpec, TensorSpec, Tolerance

SHIPPED: Final = ("mnist", "planted-items")
TIMED: Final = ("g28", "g64")
# Small packages of every kind, which every version of the service loads: "contract/plain" and others.
CONTRACT: Final = tuple(f"contract/{path.name}" for path in sorted((ROOT / "tests/contract/packages/v1").glob("*/")))
KINDS: Final[tuple[GraphKind, ...]] = ("generator", "discriminator", "encoder")
PROVIDERS: Final[Mapping[Device, str]] = {"cpu": bare.CPU, "cuda": bare.CUDA}
# As an entry of a session's configuration: it then tells which provider runs each node.
TELL_PLACEMENT: Final = {"session.record_ep_graph_assignment_info": "1"}

CUDA_RUNTIMES: Final = ("libcudart.so.13", "libcudart.so.12")
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
PIXELS: Final = "pixels"

Pixels = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph of a package.

    Attributes:
        package: `NAME/VERSION`.
        kind: its role there.
        spec: as the engine takes it.
        tolerances: of the package.
    """

    package: str
    kind: GraphKind
    spec: GraphSpec
    tolerances: tuple[Tolerance, ...]

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.package} {self.kind}"

    @property
    def outputs(self) -> list[str]:
        """Names of its outputs."""
        return [output.name for output in self.spec.outputs]

    @property
    def golden_rows(self) -> int:
        """G."""
        return len(self.spec.golden[self.spec.inputs[0].name])

    def feeds(self, batch: int) -> Feeds:
        """Golden inputs [B, …], repeated as often as it takes."""
        rows = np.arange(batch) % self.golden_rows
        return {tensor.name: np.ascontiguousarray(self.spec.golden[tensor.name][rows]) for tensor in self.spec.inputs}


def read(folder: Path) -> list[Graph]:
    """Read the graphs of a package.

    Args:
        folder: named `NAME/VERSION`.
    """
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    tolerances = tuple(Tolerance(**stated) for stated in manifest["golden"]["tolerances"])
    found = []
    with np.load(folder / manifest["golden"]["file"], allow_pickle=False) as golden:
        for kind in KINDS:
            if (stated := manifest.get(kind)) is None:
                continue
            inputs, outputs = _tensors(stated["inputs"]), _tensors(stated["outputs"])
            spec = GraphSpec(
                model=(folder / stated["file"]).read_bytes(),
                inputs=inputs,
                outputs=outputs,
                golden={tensor.name: golden[f"{kind}.{tensor.name}"] for tensor in (*inputs, *outputs)},
                batch_coupled=stated.get("batch_coupled", False),
            )
            package = f"{manifest['name']}/{manifest['version']}"
            found.append(Graph(package=package, kind=kind, spec=spec, tolerances=tolerances))
    return found


def packages(names: Sequence[str] = (*SHIPPED, *TIMED, *CONTRACT)) -> Iterator[list[Graph]]:
    """The graphs of each package by name; the timed generators only where they were written before, or `onnx` is here.

    Args:
        names: of `SHIPPED`, `TIMED` and `CONTRACT`.
    """
    for name in names:
        if (folder := folder_of(name)) is not None:
            yield read(folder)


def folder_of(name: str) -> Path | None:
    """Where a package is; None of a timed generator that cannot be made here."""
    if name in (*SHIPPED, *CONTRACT):
        versions = (
            ROOT / ("models" if name in SHIPPED else "tests") / name.replace("contract/", "contract/packages/v1/")
        )
        return max(versions.iterdir(), key=lambda path: int(path.name) if path.name.isdecimal() else 0)
    if find_spec("onnx") is not None:
        from benchmarks.contenders.packages import folder_of as written  # noqa: PLC0415 - it needs `onnx`

        return written(name)
    found = MODELS / name / "1"
    return found if found.is_dir() else None


def generator(name: str) -> Graph | None:
    """The generator of a package by name; None where it cannot be had here."""
    return next((graphs[0] for graphs in packages((name,))), None)


def of_service(graph: Graph, device: Device, form: GraphForm = AS_STATED) -> Session:
    """A session as the service has it.

    Args:
        graph: to be run.
        device: to run it on; CUDA, or an error.
        form: of the graph.

    Raises:
        ValueError: the graph has no such form.
    """
    spec = graph.spec
    if form.is_rewritten:
        model = as_convolutions(spec.model)
        if model is None:
            raise ValueError(f"{graph.name} has no transposed convolutions")
        spec = replace(spec, model=model)
    return Session(graph.kind, spec, device, threads=1, conv_search=form.conv_search)


def of_library(
    graph: Graph, device: Device, options: Mapping[str, str] | None = None, entries: Mapping[str, str] | None = None
) -> ort.InferenceSession:
    """A session of ONNX Runtime without anything around it.

    Args:
        graph: to be run.
        device: to run it on; CUDA, or an error.
        options: of the CUDA provider, beside those that the service sets.
        entries: of the session's configuration.
    """
    if device == "cuda":
        ort.preload_dlls()
    stated = {**bare.CUDA_OPTIONS, **(options or {})}
    return bare.open_session(graph.spec.model, 1, PROVIDERS[device], stated, entries)


def cuda_problem() -> str:
    """Why CUDA does not work here, as the service sees it; empty where it works."""
    return cuda.PROCESS.verdict.problem


class BoundRun:
    """One batch again and again, in fixed buffers of the device.

    A CUDA graph keeps the addresses that it was captured with, so that every run has to use the same buffers.

    Args:
        session: of ONNX Runtime.
        feeds: input name → [B, …].
        device: that the buffers are on.
        pinned: whether the host's copies lie in pinned memory.
    """

    def __init__(self, session: ort.InferenceSession, feeds: Feeds, device: Device, *, pinned: bool) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._inputs = []
        for name, values in feeds.items():
            there = ort.OrtValue.ortvalue_from_numpy(values, device, 0)
            host = pinned_like(values) if pinned else values
            self._binding.bind_ortvalue_input(name, there)
            self._inputs.append((there, host))
        batch = len(next(iter(feeds.values())))
        found = next(output for output in session.get_outputs() if output.name == PIXELS)
        shape = (batch, *found.shape[1:])
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, device, 0)
        self._binding.bind_ortvalue_output(PIXELS, self._output)
        self._host = pinned_like(np.empty(shape, np.uint8)) if pinned else None

    def __call__(self) -> Pixels:
        """Copy the input, run, copy the output; the next run may write to what is returned."""
        for there, host in self._inputs:
            if self._host is None:
                there.update_inplace(host)
            else:
                _copy(there.data_ptr(), host.ctypes.data, host.nbytes, TO_DEVICE)
        self._session.run_with_iobinding(self._binding)
        if self._host is None:
            pixels: Pixels = self._output.numpy()
            return pixels
        _copy(self._host.ctypes.data, self._output.data_ptr(), self._host.nbytes, TO_HOST)
        return self._host


@cache
def cuda_runtime() -> Any:  # noqa: ANN401 - a library
    """CUDA's runtime library, as it was loaded, or can be.

    Raises:
        OSError: there is none.
    """
    ort.preload_dlls()
    for name in CUDA_RUNTIMES[:-1]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return ctypes.CDLL(CUDA_RUNTIMES[-1])


def pinned_like(values: NDArray[T]) -> NDArray[T]:
    """A copy in pinned memory, which is never given back: a stage's process ends soon.

    Raises:
        RuntimeError: CUDA refused.
    """
    size = math.prod(values.shape) * values.itemsize
    address = ctypes.c_void_p()
    if error := cuda_runtime().cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size), 0):
        raise RuntimeError(f"cudaHostAlloc of {size} bytes: error {error}")
    memory = (ctypes.c_uint8 * size).from_address(address.value or 0)
    pinned = np.ctypeslib.as_array(memory).view(values.dtype).reshape(values.shape)
    pinned[...] = values
    return pinned


def _copy(target: int, source: int, size: int, kind: int) -> None:
    error = cuda_runtime().cudaMemcpy(
        ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size), ctypes.c_int(kind)
    )
    if error:
        raise RuntimeError(f"cudaMemcpy of {size} bytes: error {error}")


def _tensors(stated: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**tensor, "shape": tuple(tensor["shape"])}) for tensor in stated)
