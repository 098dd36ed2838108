"""One graph in ONNX Runtime, on the CPU or CUDA.

Settings that change results or fairness are set explicitly: TF32 is off, because golden tolerances are stated for fp32;
threads do not spin, because the spinning threads of an idle session take the cores that another one needs.
"""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import onnxruntime as ort

from service.engine.backends.base import TensorInfo, batch_of, check_output_shapes, check_signature
from service.engine.config import CPU, CUDA, Device, Precision
from service.engine.model_spec import Feeds, GraphSpec, Outputs
from service.errors import GraphRefused, SessionFailed

RUNTIME = f"onnxruntime {ort.__version__}"
CUDA_OPTIONS = {"use_tf32": "0"}
# The list of cuDNN's plans of which a convolution takes the first: of its fast heuristic, or of its thorough one.
ConvSearch = Literal["HEURISTIC", "EXHAUSTIVE"]
# ONNX Runtime's log severity: errors and worse.
LOG_ERRORS = 3

_DATATYPES: Mapping[str, str] = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(int64)": "INT64",
}

_log = logging.getLogger(__name__)


class Session:
    """A loaded graph; on the CPU several threads may run it at once.

    Args:
        graph: its role in the package, as in `LoadedGraph.graph`.
        spec: the graph's bytes and stated tensors.
        device: as in `Runtime.device`.
        threads: that one run is spread over, on the CPU; with one it stays on the caller's.
        conv_search: how CUDA chooses its convolutions.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.

    Raises:
        GraphRefused: ONNX Runtime cannot load it, its tensors are not the stated ones, or CUDA is asked for and absent.
    """

    def __init__(
        self, graph: str, spec: GraphSpec, device: Device, threads: int, conv_search: ConvSearch = "HEURISTIC"
    ) -> None:
        self.graph = graph
        self.runtime = RUNTIME
        self.precision: Precision = "fp32"
        self._outputs = spec.outputs
        self._session = _load(graph, spec.model, device, threads, conv_search)
        self.provider: str = self._session.get_providers()[0]
        check_signature(spec.inputs, _found(self._session.get_inputs()), f"{graph} inputs")
        check_signature(spec.outputs, _found(self._session.get_outputs()), f"{graph} outputs")

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        try:
            arrays = self._session.run(outputs, feeds)
        except Exception as error:  # its exceptions share no base class
            raise SessionFailed(f"the {self.graph}'s session failed") from error
        results: Outputs = dict(zip(outputs, arrays, strict=True))
        check_output_shapes(self.graph, self._outputs, batch_of(feeds), results)
        return results

    def shrink(self, feeds: Feeds) -> None:
        """Run once, and free the memory that larger runs took; the next of those takes it again.

        Raises:
            SessionFailed: as `compute`.
        """
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            self._session.run(None, feeds, options)
        except Exception as error:  # its exceptions share no base class
            raise SessionFailed(f"the {self.graph}'s session failed") from error


def _load(graph: str, model: bytes, device: Device, threads: int, conv_search: ConvSearch) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = LOG_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cuda_wanted = device == "cuda" or (device == "auto" and _cuda_driver_present())
    cuda_options = {**CUDA_OPTIONS, "cudnn_conv_algo_search": conv_search}
    providers: list[str | tuple[str, dict[str, str]]] = [(CUDA, cuda_options), CPU] if cuda_wanted else [CPU]
    if cuda_wanted:
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # its exceptions share no base class
        raise GraphRefused(f"{graph}: ONNX Runtime cannot load the graph: {error}") from error
    if cuda_wanted and session.get_providers()[0] != CUDA:
        message = f"{graph}: CUDA is not usable: the driver, CUDA or cuDNN is missing or does not fit ONNX Runtime"
        if device == "cuda":
            raise GraphRefused(message)
        _log.warning("%s; using the CPU", message)
    return session


def _cuda_driver_present() -> bool:
    """Whether to try CUDA; without a driver the attempt only fills the log."""
    if CUDA not in ort.get_available_providers():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _found(nodes: Sequence[ort.NodeArg]) -> list[TensorInfo]:
    return [TensorInfo(node.name, _DATATYPES.get(node.type, node.type), node.shape) for node in nodes]
