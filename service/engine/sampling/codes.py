"""Values of InfoGAN's codes: checked, and written as the tensor that a generator takes.

Shapes: N samples, Q codes, K elements of the code tensor.

References:
    Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets
    (2016), section 7.2: one code of ten values and two of U(−1, 1).
"""

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import CodeSpec


def code_tensor(codes: NDArray[np.float64], spec: CodeSpec) -> NDArray[np.float32]:
    """Write codes as a generator takes them.

    Args:
        codes: [N, Q], values of the categorical codes, then numbers of the continuous ones.

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
    """Find a categorical code that is not one of its values, or a continuous one outside its bounds.

    Args:
        codes: [N, Q]; NaN, a code that was left out, fits everywhere.

    Returns:
        Indices of the sample and of the code of the first misfit; None where all fit.
    """
    low, high = np.array([(0, size - 1) for size in spec.categorical] + list(spec.continuous), np.float64).T
    outside = (codes < low) | (codes > high)
    values = codes[:, : len(spec.categorical)]
    outside[:, : len(spec.categorical)] |= ~np.isnan(values) & (values != np.floor(values))
    places = np.argwhere(outside)
    return None if not len(places) else (int(places[0, 0]), int(places[0, 1]))
