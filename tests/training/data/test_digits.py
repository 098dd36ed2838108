"""The bundled digits: the real set, split without chance."""

import numpy as np
from sklearn.datasets import load_digits

from training.data import DigitsConfig, digits


def test_all_images_are_there_once() -> None:
    images = digits.load(DigitsConfig())
    assert images.train.shape == (1_541, 1, 8, 8)
    assert images.held_out.shape == (256, 1, 8, 8)
    together = np.concatenate([images.train, images.held_out]).reshape(-1, 64)
    original = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, original))


def test_shades_span_the_range_of_a_byte() -> None:
    images = digits.load(DigitsConfig())
    assert (images.train.min(), images.train.max()) == (0, 255)


def test_both_sides_hold_every_digit_in_fair_shares() -> None:
    images = digits.load(DigitsConfig())
    assert images.train_labels is not None
    assert images.held_out_labels is not None
    assert images.label_names == tuple("0123456789")
    for labels in (images.train_labels, images.held_out_labels):
        shares = np.bincount(labels, minlength=10) / len(labels)
        assert shares.min() > 0.06
        assert shares.max() < 0.15


def test_two_loads_agree_and_have_the_same_hash() -> None:
    one, other = digits.load(DigitsConfig()), digits.load(DigitsConfig())
    assert np.array_equal(one.train, other.train)
    assert one.sha256 == other.sha256
