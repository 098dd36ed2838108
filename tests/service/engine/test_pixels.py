"""Pixels become samples the same way everywhere; the difference of two pictures is measured and bounded."""

import numpy as np
import pytest

from service.engine.pixels import LARGEST_STEPS, MEAN_STEPS, PixelDifference, dequantise

ALL_LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
PICTURE = np.array([0, 10, 200, 255], np.uint8).reshape(1, 2, 2, 1)
OTHER = np.array([255, 10, 198, 254], np.uint8).reshape(1, 2, 2, 1)


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


def test_a_difference_is_told_in_steps_and_shares_and_is_the_same_both_ways() -> None:
    expected = PixelDifference(largest=255, mean=(255 + 0 + 2 + 1) / 4, share=3 / 4)
    assert PixelDifference.between(PICTURE, OTHER) == PixelDifference.between(OTHER, PICTURE) == expected


def test_a_picture_does_not_differ_from_itself() -> None:
    assert PixelDifference.between(PICTURE, PICTURE) == PixelDifference(0, 0.0, 0.0)


def test_a_difference_is_accepted_up_to_the_bound_of_one_pixel_and_of_the_mean_and_not_beyond() -> None:
    assert PixelDifference(LARGEST_STEPS, MEAN_STEPS, 1.0).is_acceptable
    assert not PixelDifference(LARGEST_STEPS + 1, 0.0, 0.001).is_acceptable
    assert not PixelDifference(2, MEAN_STEPS + 0.01, 1.0).is_acceptable


def test_a_difference_is_printed_in_words() -> None:
    assert str(PixelDifference(7, 0.1138, 0.08)) == "7 steps at most, 0.114 on average, in 0.08 of the pixels"
