"""Input tensors of a worker, reused for every batch: requests write their rows in place.

    rows(0, 3) ─▶ first request   ┐
    rows(3, 4) ─▶ second request  ├─ one [B, …] array per tensor ─▶ feeds(4, B) ─▶ run
    zeros      ─▶ padding         ┘

Requests know a tensor by its role, the session by its name. Nothing is stacked or copied, and no memory is allocated.

Shapes: B rows of a batch, n of one request.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from service.engine.model_spec import Array, Feeds, Role, TensorSpec

Rows = Mapping[Role, Array]


class BatchInputs:
    """Buffers for one batch at a time, for one thread.

    Args:
        tensors: inputs of the graph.
        kept: rows of the buffers that are reused; a larger batch gets its own.
    """

    def __init__(self, tensors: Sequence[TensorSpec], kept: int) -> None:
        self._tensors = tuple(tensors)
        self._kept = kept
        self._buffers = self._batch = self._allocate(kept)

    def begin(self, size: int) -> None:
        """Begin a batch of B rows; those of the last one are undefined from now on."""
        self._batch = self._buffers if size <= self._kept else self._allocate(size)

    def rows(self, start: int, stop: int) -> Rows:
        """Views of rows `start` … `stop` − 1 of the batch, for one request to write: role → [n, …]."""
        return {role: buffer[start:stop] for role, _, buffer in self._batch}

    def feeds(self, filled: int, size: int) -> Feeds:
        """The batch: name → [B, …], its first `filled` rows as they were written, zeros behind them."""
        feeds = {name: buffer[:size] for _, name, buffer in self._batch}
        if filled < size:
            for array in feeds.values():
                array[filled:] = 0
        return feeds

    def end(self) -> None:
        """Free buffers that are not reused."""
        self._batch = self._buffers

    def _allocate(self, rows: int) -> list[tuple[Role, str, Array]]:
        # The system hands out a page when it is first written, so rows that are never used cost nothing.
        return [
            (tensor.role, tensor.name, np.empty((rows, *tensor.shape[1:]), tensor.dtype)) for tensor in self._tensors
        ]
