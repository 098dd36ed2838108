"""What a package can hold: the numbers are the format's, and everything in the way is told at once."""

import json

import numpy as np
import pytest

from tests.support import small
from training.data import ImageData
from training.errors import ExportError
from training.export import limits
from training.export.manifest import SCHEMA_PATH
from training.tables import Value


def images(*, held_out: int = 64, shape: tuple[int, int, int] = (1, 8, 8), names: tuple[str, ...] = ()) -> ImageData:
    train, measured = (np.broadcast_to(np.uint8(0), (count, *shape)) for count in (100, held_out))
    return ImageData(
        name="pictures",
        train=train,
        held_out=measured,
        train_labels=np.zeros(100, np.int64) if names else None,
        held_out_labels=np.zeros(held_out, np.int64) if names else None,
        label_names=names or None,
        sha256="0" * 64,
        attribution="nobody's",
    )


def test_the_limits_are_the_formats() -> None:
    schema = json.loads(SCHEMA_PATH.read_text())["properties"]
    image, vector, item = schema["sample"]["oneOf"]
    names, codes = schema["labels"]["properties"]["names"], schema["codes"]["properties"]["categorical"]
    assert tuple(image["properties"]["channels"]["enum"]) == limits.IMAGE_CHANNELS
    assert limits.LARGEST_SIDE == image["properties"]["height"]["maximum"] == image["properties"]["width"]["maximum"]
    assert vector["properties"]["size"]["maximum"] == limits.LARGEST_VECTOR
    assert item["properties"]["count"]["maximum"] == limits.LARGEST_COUNT
    assert schema["latent"]["properties"]["size"]["maximum"] == limits.LARGEST_LATENT
    assert (names["maxItems"], names["items"]["maxLength"]) == (limits.MOST_LABELS, limits.LONGEST_LABEL)
    assert codes["maxItems"] == limits.MOST_CODES
    assert codes["items"]["properties"]["size"]["maximum"] == limits.MOST_CATEGORIES
    assert schema["reference"]["properties"]["count"]["maximum"] == limits.MOST_REFERENCE_ROWS
    assert schema["license"]["maxLength"] == limits.LONGEST_LICENSE


def test_what_fits_is_accepted_to_the_last_number() -> None:
    config = small.config(generator={"conditional": True, "latent_size": limits.LARGEST_LATENT})
    limits.check(config, images(shape=(3, 8, limits.LARGEST_SIDE), names=("a" * limits.LONGEST_LABEL, "b")))
    limits.check_license("x" * limits.LONGEST_LICENSE)


@pytest.mark.parametrize(
    ("data", "generator", "words"),
    [
        (images(held_out=63), {}, "pictures holds out 63 of 163 samples, and to calibrate takes 64 or more"),
        (images(shape=(4, 8, 8)), {}, r"4 channels, and a package's are grey \(1\) or colour \(3\)"),
        (images(shape=(1, 8, 8_193)), {}, "its images are 8193x8, and a package's have 8,192 pixels a side"),
        (images(names=("a" * 101, "b")), {"conditional": True}, "1 of its classes have names of more than 100"),
        (images(names=("a", "a")), {"conditional": True}, "its classes do not all have names of their own"),
        (images(), {"latent_size": 65_537}, "latent_size is 65,537, and a package's is 65,536 at most"),
    ],
)
def test_what_does_not_fit_is_refused(data: ImageData, generator: dict[str, Value], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        limits.check(small.config(generator=generator), data)


def test_names_of_classes_do_not_matter_to_a_package_that_is_not_told_them() -> None:
    limits.check(small.config(), images(names=("a" * 101, "b")))


def test_a_license_that_is_too_long_is_refused() -> None:
    with pytest.raises(ExportError, match="the license has 201 characters; a package has room for 200"):
        limits.check_license("x" * 201)
