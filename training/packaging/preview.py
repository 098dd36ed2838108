"""A picture of 64 samples for people, none of them chosen.

The latents are the exporter's own: the service draws a seed's latent in a way of its own, so that this picture is not
what `/generate` answers to any seed.
"""

import io
from typing import Final

from PIL import Image
from torch import Tensor

from training.recording import GRID_ZOOM, contact_sheet

COUNT: Final = 64


def preview(samples: Tensor) -> bytes:
    """Draw a sheet of samples.

    Args:
        samples: [64, C, H, W] floats in [-1, 1].

    Returns:
        PNG, eight samples by eight.
    """
    sheet = contact_sheet(samples)
    picture = io.BytesIO()
    zoomed = sheet.resize((sheet.width * GRID_ZOOM, sheet.height * GRID_ZOOM), Image.Resampling.NEAREST)
    zoomed.save(picture, format="png", optimize=True)
    return picture.getvalue()
