"""A worker's input tensors: requests write their rows into them, and they go to the runner as they stand.

    rows(0, 3) ─▶ first request   ┐
    rows(3, 4) ─▶ second request  ├─ one [B, …] array a tensor, made once and used again ─▶ feeds(4, B) ─▶ run
    zeros      ─▶ padding         ┘

A row is written where it is read, so nothing is stacked or copied, and the memory of a batch is neither asked for nor
given back. Who writes knows what a tensor means, and the runner knows its name, so that neither need be told the
other's word. It belongs to one thread.

Shapes: B rows of a batch, n of one request.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from service.engine.model_spec import Array, Feeds, Role, TensorSpec

Rows = Mapping[Role, Array]


class BatchInputs:
    """Room for one batch at a time.

    Args:
        tensors: of the graph.
        kept: rows of room to use again; a larger batch gets room of its own.
    """

    def __init__(self, tensors: Sequence[TensorSpec], kept: int) -> None:
        self._tensors = tuple(tensors)
        self._kept = kept
        self._room = self._make_room(kept)
        self._batch = self._room

    def begin(self, size: int) -> None:
        """Make ready for a batch of B rows; what the last one's rows held is void."""
        self._batch = self._room if size <= self._kept else self._make_room(size)

    def rows(self, start: int, stop: int) -> Rows:
        """Where one request writes: role → [n, …], rows `start` … `stop` − 1 of the batch."""
        return {role: room[start:stop] for role, _, room in self._batch}

    def feeds(self, filled: int, size: int) -> Feeds:
        """The batch: name → [B, …], its first `filled` rows as they were written, zeros behind them."""
        feeds = {name: room[:size] for _, name, room in self._batch}
        if filled < size:
            for array in feeds.values():
                array[filled:] = 0
        return feeds

    def end(self) -> None:
        """Let go of room that is not kept."""
        self._batch = self._room

    def _make_room(self, rows: int) -> list[tuple[Role, str, Array]]:
        # The system hands out a page when it is first written to, so room that is never used costs nothing.
        return [
            (tensor.role, tensor.name, np.empty((rows, *tensor.shape[1:]), tensor.dtype)) for tensor in self._tensors
        ]
