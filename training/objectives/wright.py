"""The Wright omega function's logarithm, which the conjugate of Jeffrey's divergence is made of.

omega(y) = W(e^y) solves w + log w = y. Its logarithm s solves e^s + s = y: a convex, increasing equation without an
overflow at any y, on which Newton's method from the right side descends straight to the root.

References:
    Corless and Jeffrey, The Wright omega function (2002).
"""

from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

STEPS: Final = 6  # from the starts below double precision is reached after five, whatever y


def log_wright_omega(values: Tensor) -> Tensor:
    """Solve e^s + s = y elementwise.

    Args:
        values: y, any real numbers.

    Returns:
        s = log omega(y), differentiable as often as wanted: ds/dy = 1 / (1 + e^s).
    """
    return cast("Tensor", _LogOmega.apply(values))  # type: ignore[no-untyped-call]  # torch leaves `apply` untyped


class _LogOmega(torch.autograd.Function):
    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        # Both starts lie right of the root: e^s + s is at least y there.
        root = torch.where(values <= 1, values, values.clamp(min=1).log())
        for _ in range(STEPS):
            root = root - (root.exp() + root - values) / (root.exp() + 1)
        context.save_for_backward(root)
        return root

    @staticmethod
    def backward(context: FunctionCtx, *gradients: Tensor) -> Tensor:
        (root,) = cast("Any", context).saved_tensors  # not in torch's stubs
        return gradients[0] * torch.sigmoid(-root)
