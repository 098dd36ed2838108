"""Handwritten digits of 8x8 pixels that come with scikit-learn: real data on every machine, without a download.

1,797 images with 17 shades of grey, from the test part of the UCI set "Optical Recognition of Handwritten Digits".
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from training.data.image_data import ImageData

DARKEST = 16  # the set's values are 0 … 16
# Every seventh image is held out: deterministic, and 7 shares no factor with the set's frequent runs 0, 1, … 9.
HELD_OUT_STRIDE = 7


@dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """The `[data]` table of kind "digits": nothing to choose."""

    kind: ClassVar[str] = "digits"


def load(_config: DigitsConfig) -> ImageData:
    """Read the bundled digits.

    Returns:
        1,541 images to train on and 256 held out, [N, 1, 8, 8], with labels.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds, and processes that decode images never ask

    values, labels = load_digits(return_X_y=True)
    pixels = np.rint(values * np.iinfo(np.uint8).max / DARKEST).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    held_out = np.arange(len(pixels)) % HELD_OUT_STRIDE == HELD_OUT_STRIDE - 1
    return ImageData(
        name="digits",
        train=pixels[~held_out],
        held_out=pixels[held_out],
        train_labels=labels[~held_out],
        held_out_labels=labels[held_out],
        label_names=tuple("0123456789"),
        sha256=hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest(),
        attribution="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0",
    )
