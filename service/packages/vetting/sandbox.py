"""The limits of the child process that vets graphs, and the one run of each graph within them."""

import resource
from collections.abc import Sequence

import numpy as np

from service.engine.backends.onnxruntime import Session
from service.engine.model_spec import Feeds, GraphSpec, Outputs, TensorSpec
from service.errors import GraphRefused, SessionFailed

# A batch of one would hide an example batch of one that the exporter left in the graph.
BATCH = 2
# Covers nearly all of a standard normal prior, and more than the range of a uniform one or of pixels.
LARGEST = 3.0
MAX_REASON = 300  # characters of the library's own words


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Give up whatever this process does not need; the limits cannot be raised again."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def smoke_run(model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Load a graph and run it twice, on the CPU, on one thread, with the session that the service itself would use.

    It is fed zeros, which are valid for every input (class 0, id 0), and then numbers such as priors and data have. The
    outputs must be finite; whether they are correct is judged by the engine, which replays the golden vectors.

    Args:
        model: the serialized graph.
        inputs: as the manifest states them.
        outputs: as the manifest states them.

    Raises:
        GraphRefused: ONNX Runtime cannot load or run it, or its outputs have other shapes than the stated ones or are
            not finite.
        MemoryError: it needs more than there is.
    """
    spec = GraphSpec(model, tuple(inputs), tuple(outputs), golden={})
    try:
        session = Session("canary run", spec, device="cpu", threads=1)
        for feeds, what in ((_zeros(inputs), "zeros"), (_waves(inputs), f"numbers between ±{LARGEST:g}")):
            _check_finite(session.compute(feeds, [tensor.name for tensor in outputs]), what)
    except (GraphRefused, SessionFailed) as error:
        reason = " ".join(f"{error}: {error.__cause__}".split()) if isinstance(error, SessionFailed) else str(error)
        if "bad_alloc" in reason or "allocat" in reason:  # ONNX Runtime words a lack of memory as a fault of the graph
            raise MemoryError from error
        raise GraphRefused(reason[:MAX_REASON]) from error


def _zeros(inputs: Sequence[TensorSpec]) -> Feeds:
    return {tensor.name: np.zeros((BATCH, *tensor.shape[1:]), tensor.dtype) for tensor in inputs}


def _waves(inputs: Sequence[TensorSpec]) -> Feeds:
    """Numbers within ±`LARGEST` for floating inputs, zeros for ids. NumPy's generators would open files."""
    feeds = _zeros(inputs)
    for values in feeds.values():
        if values.dtype.kind == "f":
            values[:] = LARGEST * np.sin(np.arange(1, values.size + 1)).reshape(values.shape)
    return feeds


def _check_finite(answers: Outputs, fed: str) -> None:
    for name, values in answers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise GraphRefused(f"canary run: fed with {fed}, it answers {name} with numbers that are not finite")
