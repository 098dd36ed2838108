"""One graph in OpenVINO, on the CPU; an optional extra: import this module only where it was asked for.

    bytes ──▶ OpenVINOGraph: read, checked ──compile(B rows)──▶ OpenVINOSession.compute(feeds [B, …]) ──▶ outputs

With a fixed batch OpenVINO plans kernels and memory once. A session of one stream runs one request at a time, on its
caller's thread and those of its own arena, so it takes one caller at a time (`SessionPool`). Threads are not pinned,
because other graphs use the same cores.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from service.engine.backends.base import TensorInfo, batch_of, check_output_shapes, check_signature
from service.engine.config import OPENVINO, Precision
from service.engine.model_spec import Array, Datatype, Feeds, GraphSpec, Outputs
from service.errors import GraphRefused, SessionFailed

# Importing OpenVINO forks a process that reports its use to a server of its makers, which a service must not do.
# Without the package that reports, OpenVINO uses a stub of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino as ov  # noqa: E402  (after the line above)

RUNTIME = f"openvino {ov.get_version().partition('-')[0]}"
DEVICE = "CPU"

_TYPES: Mapping[Datatype, ov.Type] = {
    "FP32": ov.Type.f32,
    "FP16": ov.Type.f16,
    "UINT8": ov.Type.u8,
    "INT64": ov.Type.i64,
}
_DATATYPES: Mapping[ov.Type, Datatype] = {found: datatype for datatype, found in _TYPES.items()}
_HINTS: Mapping[Precision, ov.Type] = {"fp32": ov.Type.f32, "fp16": ov.Type.f16, "bf16": ov.Type.bf16}


@lru_cache(maxsize=1)
def _core() -> ov.Core:
    """OpenVINO of this process, which lives as long.

    Its CPU plugin gives the thread that loads it another stack for signals, and frees that stack where the plugin is
    unloaded; on another thread the first keeps what is gone, and the next signal there ends the process.
    """
    return ov.Core()


class OpenVINOGraph:
    """A graph that was read and not yet compiled.

    Args:
        graph: its role in the package, as in `LoadedGraph.graph`.
        spec: the graph's bytes and stated tensors.
        precision: of the arithmetic.

    Raises:
        GraphRefused: OpenVINO cannot read it, or its tensors are not the stated ones.
    """

    def __init__(self, graph: str, spec: GraphSpec, precision: Precision) -> None:
        self.graph = graph
        self.spec = spec
        self.precision = precision
        try:
            self._model = _core().read_model(spec.model)
        except Exception as error:  # its exceptions share no base class
            raise GraphRefused(f"{graph}: OpenVINO cannot read the graph") from error
        check_signature(spec.inputs, _found(self._model.inputs), f"{graph} inputs")
        check_signature(spec.outputs, _found(self._model.outputs), f"{graph} outputs")

    def compile(self, batch: int | None, threads: int) -> "OpenVINOSession":
        """Compile it.

        Args:
            batch: B, rows of every run; None leaves it open.
            threads: that one run is spread over; with one it stays on the caller's.

        Raises:
            GraphRefused: OpenVINO cannot compile it, or this processor cannot compute in the precision.
        """
        hint = _HINTS[self.precision]
        settings = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": hint,
            "ENABLE_CPU_PINNING": False,
        }
        rows = -1 if batch is None else batch
        try:
            self._model.reshape({tensor.name: [rows, *tensor.shape[1:]] for tensor in self.spec.inputs})
            compiled = _core().compile_model(self._model, DEVICE, settings)
        except Exception as error:  # its exceptions share no base class
            raise GraphRefused(f"{self.graph}: OpenVINO cannot compile the graph") from error
        if compiled.get_property("INFERENCE_PRECISION_HINT") != hint:
            raise GraphRefused(f"{self.graph}: this processor does not compute in {self.precision}")
        return OpenVINOSession(self, compiled)


class OpenVINOSession:
    """A compiled graph; one thread at a time may run it.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.
    """

    def __init__(self, source: OpenVINOGraph, compiled: ov.CompiledModel) -> None:
        self.graph = source.graph
        self.provider = OPENVINO
        self.runtime = RUNTIME
        self.precision = source.precision
        self._spec = source.spec
        self._indices = {tensor.name: index for index, tensor in enumerate(source.spec.outputs)}
        self._request = compiled.create_infer_request()
        self._batch = 0
        self._inputs: Outputs = {}
        # Looking an output up costs as much as computing a small graph; where sizes are fixed, its array stays.
        self._has_fixed_outputs = all(port.get_partial_shape().is_static for port in compiled.outputs)
        self._outputs = {name: self._fetch(name) for name in self._indices} if self._has_fixed_outputs else {}

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        try:
            if (batch := batch_of(feeds)) != self._batch:
                self._allocate_inputs(batch)
            for name, array in self._inputs.items():
                np.copyto(array, feeds[name])
            self._request.infer(share_outputs=True)
            shared = self._outputs if self._has_fixed_outputs else {name: self._fetch(name) for name in outputs}
            results: Outputs = {name: shared[name].copy() for name in outputs}  # the next run writes to `shared`
        except Exception as error:  # its exceptions share no base class
            raise SessionFailed(f"the {self.graph}'s session failed") from error
        check_output_shapes(self.graph, self._spec.outputs, batch, results)
        return results

    def _fetch(self, output: str) -> Array:
        array: Array = self._request.get_output_tensor(self._indices[output]).data
        return array

    def _allocate_inputs(self, batch: int) -> None:
        for tensor in self._spec.inputs:
            allocated = ov.Tensor(_TYPES[tensor.datatype], [batch, *tensor.shape[1:]])
            self._request.set_tensor(tensor.name, allocated)
            self._inputs[tensor.name] = allocated.data
        self._batch = batch


def _found(ports: Sequence[ov.Output]) -> list[TensorInfo]:
    return [
        TensorInfo(
            port.get_any_name(),
            _DATATYPES.get(port.get_element_type(), port.get_element_type().get_type_name()),
            [size.get_length() if size.is_static else str(size) for size in port.get_partial_shape()],
        )
        for port in ports
    ]
