"""One graph in ONNX Runtime: made from bytes, held to its stated tensors, run on stacked rows.

    rows of several requests ──stack, pad──▶ [B, …] ──InferenceSession──▶ [B, …] ──shape check──▶ outputs by name

It knows providers, threads and tensors, and nothing of queues, seeds or golden vectors. A session belongs to one thread
at a time. Settings that change results or fairness are stated here rather than left to defaults: TF32 is off, because
golden tolerances are stated for fp32; threads do not spin, because an idle session's spinning threads take the cores
that another needs.
"""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.engine.cores import usable_cores
from service.engine.graphs import Datatype, GraphSpec, TensorSpec
from service.errors import GraphRefused, SessionFailed

Device = Literal["auto", "cpu", "cuda"]
Reproducibility = Literal["strict", "fast"]
Array = NDArray[np.generic]
Rows = Mapping[str, Array]

RUNTIME = f"onnxruntime {ort.__version__}"
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",
    # The heuristic plan of a new batch size takes milliseconds, the exhaustive one can take a second.
    "cudnn_conv_algo_search": "HEURISTIC",
}
# ONNX Runtime's severity of a warning, an error and a fatal error.
LOG_ERRORS, LOG_FATAL = 3, 4

_NUMPY_TYPES: Mapping[Datatype, type[np.generic]] = {
    "FP32": np.float32,
    "FP16": np.float16,
    "UINT8": np.uint8,
    "INT64": np.int64,
}
_ONNX_TYPES: Mapping[Datatype, str] = {
    "FP32": "tensor(float)",
    "FP16": "tensor(float16)",
    "UINT8": "tensor(uint8)",
    "INT64": "tensor(int64)",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """How sessions are made.

    Attributes:
        device: `auto` takes CUDA where it really works, else the CPU; `cuda` refuses to do without.
        threads: of one session; 0 takes the cores this process may use.
        reproducibility: `strict` uses only batch sizes proven bitwise equal; `fast` all within the golden tolerance.
    """

    device: Device = "auto"
    threads: int = 0
    reproducibility: Reproducibility = "strict"


class Session:
    """A loaded graph.

    Args:
        graph: what it is to the package, for messages: `generator`, `discriminator` or `encoder`.
        spec: the graph's bytes and stated tensors.
        runtime: how to make the session.

    Attributes:
        graph: as given.
        provider: ONNX Runtime's name of the provider that really runs it.

    Raises:
        GraphRefused: ONNX Runtime cannot load it, its tensors are not the stated ones, or CUDA is asked for and absent.
    """

    def __init__(self, graph: str, spec: GraphSpec, runtime: Runtime) -> None:
        self.graph = graph
        self._inputs = spec.inputs
        self._outputs = {output.name: output for output in spec.outputs}
        self._session = _load(graph, spec.model, runtime)
        self.provider: str = self._session.get_providers()[0]
        _hold_to(spec.inputs, self._session.get_inputs(), f"{graph} inputs")
        _hold_to(spec.outputs, self._session.get_outputs(), f"{graph} outputs")

    def run(self, rows: Sequence[Rows], batch: int, outputs: Sequence[str]) -> dict[str, Array]:
        """Run once.

        Args:
            rows: input name → [n, …], one mapping a request; stacked in this order.
            batch: B, rows of the run; what `rows` leave free is padded with zeros.
            outputs: names of the outputs to fetch; the others stay on the device.

        Returns:
            Output name → [B, …], padding included.

        Raises:
            SessionFailed: ONNX Runtime raised, or answered a tensor of the wrong shape.
        """
        feeds = {tensor.name: _stack([row[tensor.name] for row in rows], batch, tensor) for tensor in self._inputs}
        try:
            arrays = self._session.run(list(outputs), feeds)
        except Exception as error:  # its exceptions share no base class
            raise SessionFailed(f"the {self.graph}'s session failed") from error
        results: dict[str, Array] = dict(zip(outputs, arrays, strict=True))
        for name, array in results.items():
            if array.shape != (batch, *self._outputs[name].shape[1:]):
                raise SessionFailed(f"the {self.graph}'s output {name} has shape {array.shape} for a batch of {batch}")
        return results


def numpy_type(tensor: TensorSpec) -> np.dtype[np.generic]:
    """The element type of a tensor's array."""
    return np.dtype(_NUMPY_TYPES[tensor.datatype])


def _load(graph: str, model: bytes, runtime: Runtime) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = runtime.threads or usable_cores()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = LOG_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cuda_wanted = runtime.device == "cuda" or (runtime.device == "auto" and _cuda_driver_present())
    providers: list[str | tuple[str, dict[str, str]]] = [(CUDA, CUDA_OPTIONS), CPU] if cuda_wanted else [CPU]
    if cuda_wanted:
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # its exceptions share no base class
        raise GraphRefused(f"{graph}: ONNX Runtime cannot load the graph: {error}") from error
    if cuda_wanted and session.get_providers()[0] != CUDA:
        message = f"{graph}: CUDA is not usable: the driver, CUDA or cuDNN is missing or does not fit ONNX Runtime"
        if runtime.device == "cuda":
            raise GraphRefused(message)
        _log.warning("%s; using the CPU", message)
    return session


def _cuda_driver_present() -> bool:
    """Whether trying CUDA makes sense; without a driver the attempt only fills the log."""
    if CUDA not in ort.get_available_providers():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _hold_to(stated: Sequence[TensorSpec], found: Sequence[ort.NodeArg], what: str) -> None:
    """Refuse a graph whose tensors are not the stated ones; sizes that it leaves open are checked on each run."""
    names = [tensor.name for tensor in found]
    stated_names = [tensor.name for tensor in stated]
    if names != stated_names:
        raise GraphRefused(f"{what} are {names}; stated are {stated_names}")
    for tensor, node in zip(stated, found, strict=True):
        if node.type != _ONNX_TYPES[tensor.datatype]:
            raise GraphRefused(f"{what}: {tensor.name} is a {node.type}; stated is {tensor.datatype}")
        if isinstance(node.shape[0], int):
            raise GraphRefused(f"{what}: {tensor.name} has a fixed batch of {node.shape[0]}")
        sizes = zip(node.shape, tensor.shape, strict=False)
        fits = all(size == stated_size for size, stated_size in sizes if isinstance(size, int))
        if len(node.shape) != len(tensor.shape) or not fits:
            raise GraphRefused(f"{what}: {tensor.name} has shape {node.shape}; stated is {list(tensor.shape)}")


def _stack(parts: Sequence[Array], batch: int, tensor: TensorSpec) -> Array:
    """One contiguous [B, …] array of the parts, zeros behind them."""
    if len(parts) == 1 and len(parts[0]) == batch:
        return np.ascontiguousarray(parts[0], dtype=numpy_type(tensor))
    stacked = np.zeros((batch, *tensor.shape[1:]), numpy_type(tensor))
    start = 0
    for part in parts:
        stacked[start : start + len(part)] = part
        start += len(part)
    return stacked
