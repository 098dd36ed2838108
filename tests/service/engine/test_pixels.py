"""Pixels back to samples, the same way for everybody."""

import numpy as np
import pytest

from service.engine.pixels import dequantise

ALL_LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-0.5, 2.5)])
def test_each_pixel_means_its_place_in_the_range(low: float, high: float) -> None:
    sample = dequantise(ALL_LEVELS, (low, high))
    assert sample.dtype == np.float32
    assert sample.reshape(-1) == pytest.approx(np.linspace(low, high, 256), abs=1e-6)
    assert sample.reshape(-1)[[0, -1]].tolist() == [low, high]


def test_quantising_again_gives_the_same_pixels() -> None:
    sample = dequantise(ALL_LEVELS, (-1.0, 1.0))
    again = np.round(255 * np.clip((sample + 1) / 2, 0, 1)).astype(np.uint8)
    assert again.reshape(-1).tolist() == list(range(256))


def test_channels_come_before_height_and_width() -> None:
    pixels = np.zeros((2, 4, 5, 3), np.uint8)
    pixels[1, 2, 3, 0] = 255
    sample = dequantise(pixels, (0.0, 1.0))
    assert sample.shape == (2, 3, 4, 5)
    assert np.argwhere(sample).tolist() == [[1, 0, 2, 3]]
    assert sample.flags.c_contiguous
