"""Random numbers for one step's augmentations, independent of how processes share the batch.

Every draw is made for the whole batch and cut to this process's part, so that several processes augment as a single one
would.

Shapes: B batch of all processes together, b this process's part of it, K numbers a sample.
"""

import itertools
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor


class NumberSource(Protocol):
    """RandomNumbers in the order in which they are asked for."""

    def uniform(self, count: int = 1) -> Tensor:
        """Uniform on [0, 1), float32 [b, K]."""
        ...

    def normal(self, count: int = 1) -> Tensor:
        """Standard normal, float32 [b, K]."""
        ...


class RandomNumbers:
    """The numbers of one step, drawn one after the other.

    Args:
        part: which samples of the batch this process works on.
    """

    def __init__(self, generator: np.random.Generator, batch_size: int, part: slice, device: torch.device) -> None:
        self._generator = generator
        self._batch_size = batch_size
        self._part = part
        self._device = device

    def uniform(self, count: int = 1) -> Tensor:
        """Uniform on [0, 1), float32 [b, K]."""
        values = self._generator.random((self._batch_size, count), dtype=np.float32)
        return torch.from_numpy(values)[self._part].to(self._device)

    def normal(self, count: int = 1) -> Tensor:
        """Standard normal, float32 [b, K]."""
        values = self._generator.standard_normal((self._batch_size, count), dtype=np.float32)
        return torch.from_numpy(values)[self._part].to(self._device)


class SharedNumbers:
    """The random numbers of a step whose batch is computed in parts: each part gets its rows of the same draws.

    Every part must ask for the same numbers in the same order.

    Args:
        source: of the whole batch; asked by the part that comes first.
    """

    def __init__(self, source: NumberSource) -> None:
        self._source = source
        self._drawn: list[Tensor] = []

    def rows(self, rows: slice) -> NumberSource:
        """The numbers of one part, from the first."""
        return _Rows(self, rows)

    def draw(self, place: int, kind: Literal["uniform", "normal"], count: int) -> Tensor:
        """The draw of a place in the order, [b, K]."""
        if place == len(self._drawn):
            self._drawn.append(self._source.uniform(count) if kind == "uniform" else self._source.normal(count))
        return self._drawn[place]


class _Rows:
    def __init__(self, shared: SharedNumbers, rows: slice) -> None:
        self._shared = shared
        self._rows = rows
        self._places = itertools.count()

    def uniform(self, count: int = 1) -> Tensor:
        return self._shared.draw(next(self._places), "uniform", count)[self._rows]

    def normal(self, count: int = 1) -> Tensor:
        return self._shared.draw(next(self._places), "normal", count)[self._rows]
