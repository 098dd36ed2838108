"""A picture of samples for people, none of them chosen.

The latents are the exporter's own: the service draws a seed's latent in a way of its own, so that this picture is not
what `/generate` answers to any seed.
"""

import io

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.pictures import picture


def preview(samples: Tensor, real: NDArray[np.generic]) -> bytes | None:
    """Draw samples.

    Args:
        samples: [B, ...], as many as `training.pictures.samples_wanted` says.
        real: [N, ...] of the data.

    Returns:
        PNG, or None where a picture shows nothing.
    """
    drawn = picture(samples, real)
    if drawn is None:
        return None
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return content.getvalue()
