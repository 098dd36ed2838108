"""Random numbers for one step's augmentations, independent of how processes share the batch.

Every draw is made for the whole batch and cut to this process's part, so that several processes augment as a single one
would.

Shapes: B batch of all processes together, b this process's part of it, K numbers a sample.
"""

from typing import Protocol

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
