"""ONNX Runtime on the CPU: serialized graphs as functions from arrays to arrays.

Calibration, golden vectors and evaluation use it instead of torch, so that they see what the service sees.
"""

from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from training.progress import progress

PROVIDER: Final = "CPUExecutionProvider"
BATCH = 250  # divides the usual sample counts and bounds memory
ERRORS_ONLY, FATAL_ONLY = 3, 4  # ONNX Runtime's severities; below them, every missing device is reported

Arrays = dict[str, NDArray[np.generic]]


class Graph:
    """A graph.

    Attributes:
        inputs: name, type and shape of each, from ONNX Runtime.

    Args:
        model: serialized.
        silent: whether a run that fails is no news, but what its caller wants to know.
    """

    def __init__(self, model: bytes, *, silent: bool = False) -> None:
        self.model = model
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL_ONLY if silent else ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(model, options, providers=[PROVIDER])
        self.inputs, self.outputs = self._session.get_inputs(), self._session.get_outputs()

    def run(self, inputs: Arrays) -> Arrays:
        """Compute one batch.

        Args:
            inputs: [B, ...] by name.
        """
        return dict(zip((output.name for output in self.outputs), self._session.run(None, inputs), strict=True))

    def output(self, name: str, inputs: Arrays) -> NDArray[np.generic]:
        """Compute one output of many rows, batch by batch.

        Args:
            inputs: [N, ...] by name.

        Returns:
            [N, ...].
        """
        starts = range(0, len(next(iter(inputs.values()))), BATCH)
        batches = [
            self._session.run([name], rows_of(inputs, slice(start, start + BATCH)))[0]
            for start in progress(starts, f"computing {name}", len(starts), "batch")
        ]
        return np.concatenate(batches)


def rows_of(arrays: Arrays, rows: slice) -> Arrays:
    """Select the same rows of every array."""
    return {name: array[rows] for name, array in arrays.items()}
