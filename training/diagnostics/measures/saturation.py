"""Measures saturation: the share of sure outputs, and the gradient norms of both generator losses.

Where D is sure of a generated sample, the slope of log(1 - D) by the logit, -D, is almost 0, while that of -log D, -(1
- D), is almost -1. The norm of the generator's gradient is measured under both losses on the same samples: when they
differ by orders of magnitude, the minimax game has saturated. Only logits of D = P(real) have these two losses.

Shapes: B logits.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), section 3.
    Arjovsky and Bottou, Towards Principled Methods for Training GANs (2017), theorem 2.4, figures 2 and 3.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

SURE: Final = 0.99  # of D, or below 1 - SURE: the slope of the saturating loss has fallen to a hundredth


def sure_share(logits: Tensor) -> float:
    """Share of probabilities above 0.99 or below 0.01.

    Args:
        logits: [B] of D = P(real), or differences of logits of real and generated pairs.

    Returns:
        A share in [0, 1].
    """
    answers = logits.double().sigmoid()
    return float(((answers > SURE) | (answers < 1 - SURE)).double().mean())


def gradient_norms(logits: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[float, float]:
    """Compute the Euclidean norm of the generator's gradient under both losses.

    Args:
        logits: [B] of generated samples, a function of `parameters`.

    Returns:
        Norms under E log(1 - D), minimax, and under -E log D, non-saturating.
    """
    minimax, non_saturating = -softplus(logits).mean(), softplus(-logits).mean()
    return gradient_norm(minimax, parameters, keep_graph=True), gradient_norm(non_saturating, parameters)


def gradient_norm(loss: Tensor, parameters: Sequence[nn.Parameter], *, keep_graph: bool = False) -> float:
    """Compute the Euclidean norm of a gradient.

    Args:
        parameters: by which to differentiate; those that the loss does not depend on add nothing.
        keep_graph: whether another loss needs the same graph.

    Returns:
        The norm over all parameters together; `.grad` of each stays as it is.
    """
    gradients = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    squares = [gradient.double().square().sum() for gradient in gradients if gradient is not None]
    return float(torch.stack(squares).sum().sqrt())
