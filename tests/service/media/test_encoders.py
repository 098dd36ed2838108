"""What is written is what other programs read: Pillow reads our PNG, NumPy reads our NPY."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from service.media import encoders

SIDES = st.integers(1, 20)
CHANNELS = st.sampled_from([1, 3])


@st.composite
def images(draw: st.DrawFn) -> NDArray[np.uint8]:
    return draw(arrays(np.uint8, (draw(SIDES), draw(SIDES), draw(CHANNELS))))


def read(content: bytes, kind: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=[kind]) as image:
        return np.array(image)


@given(images())
def test_a_png_holds_exactly_the_pixels_in_the_mode_of_their_channels(pixels: NDArray[np.uint8]) -> None:
    found = read(encoders.png(pixels), "PNG")
    expected = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@given(images())
def test_a_webp_holds_exactly_the_pixels_and_grey_as_three_equal_channels(pixels: NDArray[np.uint8]) -> None:
    found = read(encoders.webp(pixels), "WEBP")
    np.testing.assert_array_equal(found, np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_close_to_smooth_pixels_in_every_channel(channels: int) -> None:
    ramp = np.linspace(0, 255, 32)
    planes = [ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], 255 - ramp + 0 * ramp[:, None]][:channels]
    pixels = np.stack(planes, axis=-1).round().astype(np.uint8)
    found = read(encoders.jpeg(pixels), "JPEG").reshape(pixels.shape)
    assert np.abs(found.astype(int) - pixels).max() <= 8


def test_a_jpeg_keeps_colour_at_full_resolution() -> None:
    with Image.open(io.BytesIO(encoders.jpeg(np.zeros((16, 16, 3), np.uint8)))) as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_equal_pixels_give_equal_bytes(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    assert encoders.IMAGE_ENCODERS[name](pixels) == encoders.IMAGE_ENCODERS[name](pixels.copy())


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (5, 2, 3), (16, 4, 4), (17, 4, 5), (64, 8, 8)]
)
def test_a_sheet_is_the_smallest_near_square_grid(count: int, rows: int, columns: int) -> None:
    assert encoders.contact_sheet(np.zeros((count, 3, 2, 1), np.uint8)).shape == (rows * 3, columns * 2, 1)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4), CHANNELS)
def test_image_i_of_a_sheet_stands_at_row_i_over_columns_and_the_rest_is_black(
    count: int, height: int, width: int, channels: int
) -> None:
    pixels = np.random.default_rng(count).integers(1, 256, (count, height, width, channels), dtype=np.uint8)
    sheet = encoders.contact_sheet(pixels)
    columns = sheet.shape[1] // width
    for index, image in enumerate(pixels):
        top, left = index // columns * height, index % columns * width
        cell = sheet[top : top + height, left : left + width]
        np.testing.assert_array_equal(cell, image)
        cell[:] = 0
    assert not sheet.any()


@given(st.sampled_from(["uint8", "float32", "int64"]), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_a_header_and_the_arrays_bytes_are_an_npy_file_of_the_length_that_was_known_before(
    dtype: str, shape: list[int]
) -> None:
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    header = encoders.npy_header(array.shape, array.dtype)
    found = np.load(io.BytesIO(header + array.tobytes()), allow_pickle=False)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_picture_is_the_one_image_or_a_sheet_of_many() -> None:
    pixels = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3, 1)
    assert encoders.picture(pixels[:1], "png") == encoders.png(pixels[0])
    assert encoders.picture(pixels, "png") == encoders.png(encoders.contact_sheet(pixels))


@pytest.mark.parametrize("array", [np.arange(3), np.asarray(7), np.arange(6, dtype=np.float32).reshape(3, 2).T])
def test_a_whole_npy_file_is_what_numpy_reads(array: NDArray[np.generic]) -> None:
    read = np.load(io.BytesIO(encoders.npy(array)), allow_pickle=False)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
