"""Batch normalisation over the batch of all processes, so that several processes train as one does.

`nn.BatchNorm` normalises with the mean and variance of what one process holds: with N processes, of a Nth of the batch.
While `shared_statistics` is in force, each process adds its sums to those of the others, forwards and backwards, and
all of them normalise with the statistics of the whole batch. torch has such a layer for GPUs alone (`SyncBatchNorm`);
this one also runs on a CPU, can be differentiated twice, as gradient penalties need, and changes no layer permanently:
outside the context, and in evaluation mode, a layer is what it was.

References:
    Ioffe and Szegedy, Batch Normalization (2015), algorithm 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.distributed import get_world_size


class _Shared(nn.modules.batchnorm._BatchNorm):
    """A batch normalisation whose statistics are those of all processes, each of which holds as many rows."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise.

        Args:
            inputs: [B, C] or [B, C, H, W], this process's part.
        """
        if not self.training:
            return super().forward(inputs)
        axes = (0, *range(2, inputs.ndim))
        by_channel = (1, -1, *(1,) * (inputs.ndim - 2))
        processes = get_world_size()
        mean = _total(inputs.mean(axes)) / processes
        centred = inputs - mean.view(by_channel)
        variance = _total(centred.square().mean(axes)) / processes
        self._remember(mean.detach(), variance.detach(), processes * inputs.numel() // inputs.shape[1])
        normal = centred * (variance + self.eps).rsqrt().view(by_channel)
        return normal if self.weight is None else normal * self.weight.view(by_channel) + self.bias.view(by_channel)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, which keep the variance without bias, as torch's own layer does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (count / (count - 1)), weight)


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since what one process adds reaches the losses of all."""

    @staticmethod
    def forward(_: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: FunctionCtx, gradient: Tensor) -> Tensor:
        return _total(gradient.contiguous())


def _total(values: Tensor) -> Tensor:
    return cast("Tensor", _Sum.apply(values))  # type: ignore[no-untyped-call]  # torch has no types for it


class _Shared1d(_Shared, nn.BatchNorm1d):
    """Of vectors."""


class _Shared2d(_Shared, nn.BatchNorm2d):
    """Of images."""


_SHARED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _Shared1d, nn.BatchNorm2d: _Shared2d}


@contextmanager
def shared_statistics(*networks: nn.Module) -> Iterator[None]:
    """Have batch normalisation use the batch of all processes.

    Every process of the default group must call these networks in training mode equally often and in the same order;
    a call that only one of them makes would wait for the others forever.

    Yields:
        While it is in force.
    """
    changed = [(layer, type(layer)) for network in networks for layer in network.modules() if type(layer) in _SHARED]
    for layer, own in changed:
        layer.__class__ = _SHARED[own]
    try:
        yield
    finally:
        for layer, own in changed:
            layer.__class__ = own
