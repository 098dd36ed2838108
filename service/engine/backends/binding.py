"""Runs of a session through tensors that stay where they are: ONNX Runtime's IOBinding, and with it a CUDA graph.

    first batch of a size ─▶ run plainly, and through the binding ─┬─ equal bytes ─▶ later ones go through the binding
                                                                   └─ else        ─▶ later ones are run plainly
    later batches         ─▶ copied into the size's input tensors ─▶ run ─▶ outputs copied to new arrays,
                                                                            by way of pinned memory if that is wanted

The verification of a package runs every size before it serves, so the comparison is made while it loads. A CUDA graph
is captured with the addresses of the tensors and replayed with them; the comparison captures it with zeros for inputs,
so that a replay that does not read its inputs is found.

References:
    ONNX Runtime documentation, CUDA Execution Provider, "Using CUDA Graphs".
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from service.engine.backends import cuda
from service.engine.backends.base import batch_of, check_output_shapes
from service.engine.backends.cuda import ConvSearch
from service.engine.backends.onnxruntime import Session
from service.engine.backends.pinned import PinnedArray
from service.engine.config import Precision
from service.engine.model_spec import Array, Feeds, GraphSpec, Outputs
from service.errors import GraphRefused, SessionFailed

# How ONNX Runtime names the device that tensors are bound on.
CUDA_DEVICE = "cuda"

_NUMPY_TYPES: Mapping[str, type[np.generic]] = {
    "FP32": np.float32,
    "FP16": np.float16,
    "UINT8": np.uint8,
    "INT64": np.int64,
}

_log = logging.getLogger(__name__)


class _Bound(NamedTuple):
    """The tensors of one batch size; `binding` refers to them."""

    binding: ort.IOBinding
    inputs: Mapping[str, ort.OrtValue]
    outputs: Mapping[str, ort.OrtValue]
    options: ort.RunOptions
    pinned: Mapping[str, PinnedArray]


class BoundSession:
    """A session that is run through bound tensors, a set for each batch size: a `LoadedGraph`, for one thread.

    Args:
        session: that is run; plainly where its bytes differ through the binding, or the binding fails.
        spec: of its graph.
        device: that the tensors are on, as ONNX Runtime names it.
        cuda_runtime: the CUDA runtime library, where outputs go through pinned memory.

    Attributes:
        graph: as in `LoadedGraph`, and so are the others.
    """

    def __init__(
        self,
        session: Session,
        spec: GraphSpec,
        device: str = CUDA_DEVICE,
        *,
        cuda_runtime: Any = None,  # noqa: ANN401  (a library's functions have no types)
    ) -> None:
        self.graph: str = session.graph
        self.runtime: str = session.runtime
        self.provider: str = session.provider
        self.precision: Precision = session.precision
        self._session = session
        self._spec = spec
        self._device = device
        self._cuda_runtime = cuda_runtime
        self._bound: dict[int, _Bound | None] = {}

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        size = batch_of(feeds)
        if size not in self._bound:
            return self._compare(size, feeds, outputs)
        bound = self._bound[size]
        if bound is None:
            return self._session.compute(feeds, outputs)
        try:
            results = self._run(bound, feeds, outputs)
        except Exception as error:  # its exceptions share no base class
            self._session.note_failure(error)
            raise SessionFailed(f"the {self.graph}'s session failed") from error
        self._session.note_success()
        check_output_shapes(self.graph, self._spec.outputs, size, results)
        return results

    def binds(self, size: int) -> bool:
        """Whether batches of a size that has been run go through the binding."""
        return self._bound.get(size) is not None

    def _compare(self, size: int, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Run plainly, which gives the answer, and decide by its bytes how later batches of the size are run."""
        every = [output.name for output in self._spec.outputs]
        plain = self._session.compute(feeds, every)
        try:
            bound = self._bind(size)
            self._run(bound, {name: np.zeros_like(array) for name, array in feeds.items()}, every)
            results = self._run(bound, feeds, every)
            problem = "" if _equal(plain, results) else "other bytes than a plain run"
        except Exception as error:  # noqa: BLE001  (its exceptions share no base class)
            bound, problem = None, cuda.own_words(error)
        if problem:
            _log.warning("%s: batches of %d are run plainly; through bound tensors: %s", self.graph, size, problem)
        self._bound[size] = None if problem else bound
        return {name: plain[name] for name in outputs}

    def _bind(self, size: int) -> _Bound:
        options = ort.RunOptions()
        if self._session.captures:
            options.add_run_config_entry("gpu_graph_id", str(size))
        binding = self._session.native.io_binding()
        inputs, outputs = (
            {
                tensor.name: ort.OrtValue.ortvalue_from_shape_and_type(
                    [size, *tensor.shape[1:]], _NUMPY_TYPES[tensor.datatype], self._device, 0
                )
                for tensor in tensors
            }
            for tensors in (self._spec.inputs, self._spec.outputs)
        )
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        pinned = {}
        if self._cuda_runtime is not None:
            pinned = {
                tensor.name: PinnedArray([size, *tensor.shape[1:]], _NUMPY_TYPES[tensor.datatype], self._cuda_runtime)
                for tensor in self._spec.outputs
            }
        return _Bound(binding, inputs, outputs, options, pinned)

    def _run(self, bound: _Bound, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """Copy the inputs in, run, and copy outputs out.

        Raises:
            Exception: whatever ONNX Runtime raises.
            ValueError: an input is not of the stated type or shape, which ONNX Runtime would copy byte by byte.
        """
        for tensor in self._spec.inputs:
            array, value = feeds[tensor.name], bound.inputs[tensor.name]
            if array.dtype != _NUMPY_TYPES[tensor.datatype] or list(array.shape) != list(value.shape()):
                raise ValueError(f"input {tensor.name} is {array.dtype} {array.shape}; bound is {value.shape()}")
            value.update_inplace(array)
        bound.binding.synchronize_inputs()
        self._session.native.run_with_iobinding(bound.binding, bound.options)
        bound.binding.synchronize_outputs()
        if bound.pinned:
            return {name: bound.pinned[name].fetch(bound.outputs[name]) for name in outputs}
        return {name: _to_host(bound.outputs[name]) for name in outputs}


def open_capturing(graph: str, spec: GraphSpec, conv_search: ConvSearch) -> Session:
    """A session on CUDA whose bound runs are captured in a CUDA graph; an ordinary one where ONNX Runtime refuses that.

    Raises:
        GraphRefused: as `Session`.
    """
    try:
        return Session(graph, spec, "cuda", 1, conv_search, captures=True)
    except GraphRefused as error:
        _log.warning("%s; opened without a CUDA graph", error)
        return Session(graph, spec, "cuda", 1, conv_search)


def _to_host(value: ort.OrtValue) -> Array:
    """A new array: answers are views of it, and kept after later runs."""
    array: Array = value.numpy()
    return array.copy() if value.device_name() == "cpu" else array  # from a GPU it is a copy already


def _equal(one: Outputs, other: Outputs) -> bool:
    return all(one[name].tobytes() == other[name].tobytes() for name in one)
