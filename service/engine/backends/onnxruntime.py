"""One graph in ONNX Runtime, on the CPU or CUDA.

Settings that change results or fairness are set explicitly: those of CUDA are `cuda.provider_options`; threads do not
spin, because the spinning threads of an idle session take the cores that another one needs. A session never changes its
device: without ONNX Runtime's own fallback a run that fails on CUDA raises.
"""

import logging
from collections.abc import Mapping, Sequence

import onnxruntime as ort

from service.engine.backends import cuda
from service.engine.backends.base import TensorInfo, batch_of, check_output_shapes, check_signature
from service.engine.backends.cuda import ConvSearch
from service.engine.config import CPU, CUDA, Device, Precision
from service.engine.model_spec import Feeds, GraphSpec, Outputs
from service.errors import GraphRefused, SessionFailed

RUNTIME = f"onnxruntime {ort.__version__}"
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
        captures: whether runs on CUDA that name a `gpu_graph_id` are captured in a CUDA graph; `compute` is not.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.
        native: ONNX Runtime's session, for runs through bound tensors.
        captures: whether it is on CUDA and captures such runs.
        cpu_operators: operators that run on the CPU although the session is on CUDA, each once.

    Raises:
        GraphRefused: ONNX Runtime cannot load it, its tensors are not the stated ones, or CUDA is asked for and does
            not work.
    """

    def __init__(
        self,
        graph: str,
        spec: GraphSpec,
        device: Device,
        threads: int,
        conv_search: ConvSearch = "HEURISTIC",
        *,
        captures: bool = False,
    ) -> None:
        self.graph = graph
        self.runtime = RUNTIME
        self.precision: Precision = "fp32"
        self._outputs = spec.outputs
        cuda_options = cuda.provider_options(conv_search, captures=captures)
        self.native = _load(graph, spec.model, device, threads, cuda_options)
        self.provider: str = self.native.get_providers()[0]
        self._is_on_cuda = self.provider == CUDA
        self.captures = captures and self._is_on_cuda
        self._run_options = _uncaptured() if self.captures else None
        self.cpu_operators = _cpu_operators(self.native) if self._is_on_cuda else ()
        check_signature(spec.inputs, _found(self.native.get_inputs()), f"{graph} inputs")
        check_signature(spec.outputs, _found(self.native.get_outputs()), f"{graph} outputs")

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        try:
            arrays = self.native.run(outputs, feeds, self._run_options)
        except Exception as error:  # its exceptions share no base class
            self.note_failure(error)
            raise SessionFailed(f"the {self.graph}'s session failed") from error
        self.note_success()
        results: Outputs = dict(zip(outputs, arrays, strict=True))
        check_output_shapes(self.graph, self._outputs, batch_of(feeds), results)
        return results

    def note_failure(self, error: Exception) -> None:
        """Note a run of `native` that raised: on CUDA it may show that the device is lost."""
        if self._is_on_cuda:
            cuda.PROCESS.run_failed(error)

    def note_success(self) -> None:
        """Note a run of `native` that gave its outputs."""
        if self._is_on_cuda:
            cuda.PROCESS.run_passed()

    def check_provider(self) -> None:
        """Refuse a session that no longer runs where it was opened.

        Raises:
            GraphRefused: its provider is another one.
        """
        provider = self.native.get_providers()[0]
        if provider != self.provider:
            raise GraphRefused(f"{self.graph}: its session was opened on {self.provider} and now runs on {provider}")

    def shrink(self, feeds: Feeds) -> None:
        """Run once, and free the memory that larger runs took; the next of those takes it again.

        Raises:
            SessionFailed: as `compute`.
        """
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            self.native.run(None, feeds, options)
        except Exception as error:  # its exceptions share no base class
            raise SessionFailed(f"the {self.graph}'s session failed") from error


def _load(graph: str, model: bytes, device: Device, threads: int, cuda_options: dict[str, str]) -> ort.InferenceSession:
    if _takes_cuda(graph, device):
        try:
            return _open(model, threads, cuda_options)
        except Exception as error:  # its exceptions share no base class
            message = f"{graph}: ONNX Runtime cannot load the graph on CUDA: {cuda.own_words(error)}"
            if device == "cuda":
                raise GraphRefused(message) from error
            _log.warning("%s; using the CPU", message)
    try:
        return _open(model, threads, None)
    except Exception as error:  # its exceptions share no base class
        raise GraphRefused(f"{graph}: ONNX Runtime cannot load the graph: {error}") from error


def _takes_cuda(graph: str, device: Device) -> bool:
    """Whether to open a session on CUDA.

    Raises:
        GraphRefused: CUDA is asked for and does not work.
    """
    if device == "cpu":
        return False
    if device == "auto":
        return cuda.PROCESS.is_chosen()
    if problem := cuda.PROCESS.verdict.problem:
        raise GraphRefused(f"{graph}: CUDA is not usable: {problem}")
    return True


def _open(model: bytes, threads: int, cuda_options: dict[str, str] | None) -> ort.InferenceSession:
    """Open a session on CUDA, where there are options for it, or on the CPU.

    Raises:
        Exception: whatever ONNX Runtime raises, or what says that it took another device.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = LOG_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if cuda_options is None:
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [(CUDA, cuda_options), CPU]
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    if session.get_providers()[0] != CUDA:
        raise SessionFailed(f"its session is on {session.get_providers()[0]}")
    return session


def _uncaptured() -> ort.RunOptions:
    """Options of a run that is neither captured nor replayed."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1")
    return options


def _cpu_operators(session: ort.InferenceSession) -> tuple[str, ...]:
    placed = session.get_provider_graph_assignment_info()
    return tuple(sorted({node.op_type for part in placed if part.ep_name == CPU for node in part.get_nodes()}))


def _found(nodes: Sequence[ort.NodeArg]) -> list[TensorInfo]:
    return [TensorInfo(node.name, _DATATYPES.get(node.type, node.type), node.shape) for node in nodes]
