"""What two pictures differ by is told as it is, and borne only within the bound."""

import numpy as np

from service.engine.model_spec import LARGEST_STEPS, MEAN_STEPS, PixelDifference

PICTURE = np.array([0, 10, 200, 255], np.uint8).reshape(1, 2, 2, 1)
OTHER = np.array([255, 10, 198, 254], np.uint8).reshape(1, 2, 2, 1)


def test_it_is_told_in_steps_and_shares_and_is_the_same_both_ways() -> None:
    expected = PixelDifference(largest=255, mean=(255 + 0 + 2 + 1) / 4, share=3 / 4)
    assert PixelDifference.between(PICTURE, OTHER) == PixelDifference.between(OTHER, PICTURE) == expected


def test_a_picture_does_not_differ_from_itself() -> None:
    assert PixelDifference.between(PICTURE, PICTURE) == PixelDifference(0, 0.0, 0.0)


def test_it_is_borne_up_to_the_bound_of_one_pixel_and_of_the_mean_and_not_beyond() -> None:
    assert PixelDifference(LARGEST_STEPS, MEAN_STEPS, 1.0).is_acceptable
    assert not PixelDifference(LARGEST_STEPS + 1, 0.0, 0.001).is_acceptable
    assert not PixelDifference(2, MEAN_STEPS + 0.01, 1.0).is_acceptable


def test_it_says_what_it_is_in_words() -> None:
    assert str(PixelDifference(7, 0.1138, 0.08)) == "7 steps at most, 0.114 on average, in 0.08 of the pixels"
