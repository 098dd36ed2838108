"""Images, vectors and items: what is written reads back as the same sample, and nothing else is read."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from service.api.sample_types import Images, Items, Kind, Vectors, kind_of, sample_bytes
from service.errors import InvalidRequest
from service.packages.schema import ImageSample, ItemSample, VectorSample

IMAGES, VECTORS, ITEMS = Images(2, 3, 1), Vectors(2), Items(9)
FLOATS = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_manifests_sample_has_its_kind() -> None:
    image = ImageSample(kind="image", layout="NCHW", channels=1, height=2, width=3, range=(-1.0, 1.0))
    assert kind_of(image) == IMAGES
    assert kind_of(VectorSample(kind="vector", size=2)) == VECTORS
    assert kind_of(ItemSample(kind="item", count=9)) == ITEMS


@pytest.mark.parametrize(
    ("kind", "raw_values", "bytes_each"),
    [(IMAGES, False, 6), (IMAGES, True, 24), (VECTORS, True, 8), (ITEMS, True, 8)],
)
def test_a_sample_takes_as_many_bytes_as_its_row(kind: Kind, raw_values: bool, bytes_each: int) -> None:
    assert sample_bytes(kind, raw_values=raw_values) == bytes_each


def test_only_images_are_answered_as_images() -> None:
    assert {media.name for media in IMAGES.media} > {"png", "json", "npy", "zip"}
    assert [media.name for media in VECTORS.media] == [media.name for media in ITEMS.media] == ["json", "npy", "zip"]


def test_the_numbers_of_a_vector_read_back_as_the_same_floats() -> None:
    written = [VECTORS.written(row) for row in FLOATS]
    assert VECTORS.read(written).tobytes() == FLOATS.tobytes()
    assert VECTORS.read_npy(npy(FLOATS)).tobytes() == FLOATS.tobytes()
    assert np.load(io.BytesIO(VECTORS.file(FLOATS[0]))).tolist() == FLOATS[0].tolist()


def test_an_item_reads_back_as_the_same_id() -> None:
    items = np.array([0, 8, 3])
    assert [ITEMS.written(row) for row in items] == [0, 8, 3]
    assert ITEMS.read([[0.0], [8.0], [3.0]]).tolist() == [0, 8, 3]
    assert ITEMS.read_npy(npy(items)).tolist() == [0, 8, 3]
    assert int(np.load(io.BytesIO(ITEMS.file(items[1])))) == 8


def test_an_images_values_are_read_in_the_order_of_its_axes() -> None:
    assert IMAGES.read([list(range(6))]).tolist() == [[[[0, 1, 2], [3, 4, 5]]]]


@pytest.mark.parametrize(
    ("kind", "rows", "loc", "words"),
    [
        (IMAGES, [[0.0] * 6, [0.0] * 5], 1, r"1·2·3 = 6 numbers, not 5"),
        (VECTORS, [[0.0, 1.0], [0.0]], 1, "has 2 numbers, not 1"),
        (ITEMS, [[0.0], [1.0, 2.0]], 1, "has 1 numbers, not 2"),
        (ITEMS, [[0.0], [0.0], [9.0]], 2, "a whole number from 0 to 8"),
        (ITEMS, [[-1.0]], 0, "a whole number from 0 to 8"),
        (ITEMS, [[0.5]], 0, "a whole number from 0 to 8"),
        (ITEMS, [[3e38]], 0, "a whole number from 0 to 8"),
    ],
)
def test_a_row_that_is_no_sample_is_refused_with_its_place(
    kind: Kind, rows: list[list[float]], loc: int, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as refusal:
        kind.read(rows)
    assert refusal.value.problems[0].loc == ("body", "samples", loc)


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        (VECTORS, FLOATS[:, :1]),
        (VECTORS, FLOATS.astype(np.float64)),
        (VECTORS, np.full((1, 2), np.nan, np.float32)),
        (ITEMS, np.array([9])),
        (ITEMS, np.array([-1])),
        (ITEMS, np.array([[1]])),
        (ITEMS, np.array([1], np.int32)),
    ],
    ids=["short", "doubles", "not a number", "no such item", "below 0", "two axes", "narrow"],
)
def test_an_array_of_anything_else_is_refused(kind: Kind, array: NDArray[np.generic]) -> None:
    with pytest.raises(InvalidRequest):
        kind.read_npy(npy(array))
