"""Codes as values, and as the tensor that a generator takes: one-hot vectors, then numbers.

A caller names a categorical code by its value and a continuous one by its number; InfoGAN's generator takes all of them
in one tensor. This is the way there, and it stands alone because the sampler draws values without knowing the tensor.
Pure.

Shapes: N samples, Q codes, K elements of the code tensor.

References:
    Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets
    (2016), section 7.2: one code of ten values and two of U(−1, 1).
"""

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import CodeSpec


def code_tensor(codes: NDArray[np.float64], spec: CodeSpec) -> NDArray[np.float32]:
    """Write codes as a generator takes them.

    Args:
        codes: [N, Q], values of the categorical codes, then numbers of the continuous ones.
        spec: which codes there are.

    Returns:
        [N, K], each categorical code as a one-hot vector, then the continuous codes, rounded to float32.
    """
    categories = len(spec.categorical)
    tensor = np.zeros((len(codes), spec.width), np.float32)
    starts = np.cumsum((0, *spec.categorical))[:categories]
    hot = (starts + codes[:, :categories]).astype(np.intp)
    np.put_along_axis(tensor, hot, 1, axis=1)
    tensor[:, spec.width - len(spec.continuous) :] = codes[:, categories:]
    return tensor


def misfit(codes: NDArray[np.float64], spec: CodeSpec) -> tuple[int, int] | None:
    """Find a code that is not one of its values, or not between its bounds.

    Args:
        codes: [N, Q]; NaN fits everywhere, it is a code left out.
        spec: which codes there are.

    Returns:
        The sample and the code of the first misfit; None where all fit.
    """
    low, high = np.array([(0, size - 1) for size in spec.categorical] + list(spec.continuous), np.float64).T
    broken = (codes < low) | (codes > high)
    values = codes[:, : len(spec.categorical)]
    broken[:, : len(spec.categorical)] |= ~np.isnan(values) & (values != np.floor(values))
    places = np.argwhere(broken)
    return None if not len(places) else (int(places[0, 0]), int(places[0, 1]))
