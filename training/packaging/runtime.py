"""ONNX Runtime on the CPU: serialized graphs as functions from arrays to arrays.

Everything that is measured of a package is measured through this door, never through torch: calibration, golden
vectors and evaluation see what the service will see.
"""

from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

PROVIDER: Final = "CPUExecutionProvider"
BATCH = 250  # divides the sample counts in use and keeps activations within a few hundred megabytes
ERRORS_ONLY = 3  # ONNX Runtime's severity; below it, it reports every device that this machine does not have

Arrays = dict[str, NDArray[np.generic]]


class Graph:
    """A graph with one input.

    Args:
        model: the serialized graph.
    """

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(model, options, providers=[PROVIDER])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, values: NDArray[np.float32]) -> Arrays:
        """Compute one batch at once.

        Args:
            values: [B, ...].

        Returns:
            Every output by name.
        """
        return dict(zip(self._outputs, self._session.run(None, {self._input: values}), strict=True))

    def output(self, name: str, values: NDArray[np.float32]) -> NDArray[np.generic]:
        """Compute one output of many rows, batch by batch.

        Args:
            name: which output.
            values: [N, ...].

        Returns:
            [N, ...].
        """
        batches = [values[start : start + BATCH] for start in range(0, len(values), BATCH)]
        return np.concatenate([self._session.run([name], {self._input: batch})[0] for batch in batches])
