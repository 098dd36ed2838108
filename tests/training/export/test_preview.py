"""The preview: the samples it was given, in their order."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from training.export.export import preview

COUNT = 64


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_a_preview_shows_every_sample_row_by_row(channels: int, mode: str) -> None:
    shades = torch.linspace(-1, 1, COUNT).reshape(COUNT, 1, 1, 1)
    content = preview(shades.expand(COUNT, channels, 5, 4), np.zeros((1, channels, 5, 4), np.uint8))
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        assert picture.mode == mode
        pixels = np.asarray(picture).reshape(picture.height, picture.width, channels)
    tiles = pixels.reshape(8, pixels.shape[0] // 8, 8, pixels.shape[1] // 8, channels)
    assert tiles[:, 0, :, 0, 0].ravel().tolist() == np.rint(np.linspace(0, 255, COUNT)).tolist()
