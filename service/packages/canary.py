"""The first run of a graph, in the child that vets it: whatever it breaks, it breaks there.

A graph that reads well may still crash ONNX Runtime, exhaust memory or never end. So it is loaded and run once where
that costs nothing, with the session that the service itself would use. It is fed zeros, which are valid: class 0, id 0.
What it answers is not judged here; the engine holds it to the golden vectors.
"""

from collections.abc import Sequence

import numpy as np

from service.engine.graphs import GraphSpec, TensorSpec
from service.engine.session import Session
from service.errors import GraphRefused, SessionFailed

# In a batch of one, an example batch that the exporter left in the graph could hide.
BATCH = 2
MAX_REASON = 300  # characters of the library's own words


def fly(model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Load a graph and run it once, on the CPU and on one thread.

    Args:
        model: the serialized graph.
        inputs: its stated inputs.
        outputs: its stated outputs.

    Raises:
        GraphRefused: ONNX Runtime cannot load or run it, or it answers other shapes than the stated ones.
        MemoryError: it needs more than there is.
    """
    spec = GraphSpec(model, tuple(inputs), tuple(outputs), golden={})
    zeros = {tensor.name: np.zeros((BATCH, *tensor.shape[1:]), tensor.dtype) for tensor in inputs}
    try:
        session = Session("canary run", spec, device="cpu", threads=1)
        session.compute(zeros, [tensor.name for tensor in outputs])
    except (GraphRefused, SessionFailed) as error:
        reason = " ".join(f"{error}: {error.__cause__}".split()) if isinstance(error, SessionFailed) else str(error)
        if "bad_alloc" in reason or "allocat" in reason:  # ONNX Runtime words a lack of memory as a fault of the graph
            raise MemoryError from error
        raise GraphRefused(reason[:MAX_REASON]) from error
