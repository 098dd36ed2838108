"""A lane's input tensors: requests write their rows into them, and they go to the runner as they stand.

    rows(0, 3) ─▶ first request   ┐
    rows(3, 4) ─▶ second request  ├─ one [B, …] array a tensor, made once and used again ─▶ feeds(4, B) ─▶ run
    zeros      ─▶ padding         ┘

A row is written where it is read, so nothing is stacked or copied, and the memory of a batch is neither asked for nor
given back. It belongs to one thread, and knows nothing of what the tensors mean.

Shapes: B rows of a batch, n of one request.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from service.engine.graphs import TensorSpec
from service.engine.runners import Array, Feeds

Rows = Mapping[str, Array]


class BatchInputs:
    """Room for one batch at a time.

    Args:
        tensors: of the graph.
        kept: rows of room to use again; a larger batch gets room of its own.
    """

    def __init__(self, tensors: Sequence[TensorSpec], kept: int) -> None:
        self._tensors = tuple(tensors)
        self._kept = kept
        self._room: Feeds = self._make_room(kept)
        self._batch = self._room

    def begin(self, size: int) -> None:
        """Make ready for a batch of B rows; what the last one's rows held is void."""
        self._batch = self._room if size <= self._kept else self._make_room(size)

    def rows(self, start: int, stop: int) -> Rows:
        """Where one request writes: name → [n, …], rows `start` … `stop` − 1 of the batch."""
        return {name: room[start:stop] for name, room in self._batch.items()}

    def feeds(self, filled: int, size: int) -> Feeds:
        """The batch: name → [B, …], its first `filled` rows as they were written, zeros behind them."""
        feeds = {name: room[:size] for name, room in self._batch.items()}
        if filled < size:
            for array in feeds.values():
                array[filled:] = 0
        return feeds

    def end(self) -> None:
        """Let go of room that is not kept."""
        self._batch = self._room

    def _make_room(self, rows: int) -> Feeds:
        # The system hands out a page when it is first written to, so room that is never used costs nothing.
        return {tensor.name: np.empty((rows, *tensor.shape[1:]), tensor.dtype) for tensor in self._tensors}
