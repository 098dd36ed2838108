"""What callers may send, and how each thing they may not send is refused."""

import base64
import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import ExifTags, Image

from service.errors import BodyTooLarge, InvalidRequest, RequestError
from service.media.decoders import decode_base64, decode_image, decode_npy
from service.media.encoders import IMAGE_ENCODERS, png

GREY = (6, 5, 1)
RGB = (6, 5, 3)
RGB_ARRAYS = {"|u1": RGB, "<f4": (3, 6, 5)}
MAX_PIXELS = 1000
SOME_GREY = np.random.default_rng(0).integers(0, 256, GREY, dtype=np.uint8)
SOME_RGB = np.random.default_rng(1).integers(0, 256, RGB, dtype=np.uint8)


def pillow(mode: str, kind: str = "PNG", size: tuple[int, int] = (5, 6), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def png_of(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG as the specification allows it and Pillow does not write it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["png", "webp"])
@given(data=st.data())
def test_what_the_service_writes_without_loss_is_read_back_bit_for_bit(name: str, data: st.DataObject) -> None:
    pixels = data.draw(arrays(np.uint8, data.draw(st.sampled_from([GREY, RGB]))))
    found = decode_image(IMAGE_ENCODERS[name](pixels), pixels.shape, MAX_PIXELS)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(("pixels", "expected"), [(SOME_GREY, GREY), (SOME_RGB, RGB)])
def test_a_jpeg_of_the_right_size_is_read(pixels: NDArray[np.uint8], expected: tuple[int, int, int]) -> None:
    assert decode_image(IMAGE_ENCODERS["jpeg"](pixels), expected, MAX_PIXELS).shape == expected


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "green")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected", "words"),
    [
        (b"", GREY, "empty"),
        (b"not an image at all", GREY, "not an image in any of the formats PNG, JPEG, WEBP"),
        (pillow("L", "GIF"), GREY, "not an image in any of the formats"),
        (pillow("L", "TIFF"), GREY, "not an image in any of the formats"),
        (pillow("L", "BMP"), GREY, "not an image in any of the formats"),
        (pillow("L", size=(6, 5)), GREY, r"must be 5×6 pixels .* it is 6×5"),
        (pillow("RGB"), GREY, "must be 8-bit grey; it is 8-bit RGB"),
        (pillow("L"), RGB, "must be 8-bit RGB; it is 8-bit grey"),
        (pillow("RGBA"), RGB, "it is RGB with transparency"),
        (pillow("LA"), GREY, "it is grey with transparency"),
        (pillow("P"), GREY, "it is palette"),
        (pillow("1"), GREY, "it is black and white"),
        (pillow("I;16"), GREY, "it is 16-bit grey"),
        (png_of(5, 6, 16, 2, bytes(6 * (1 + 5 * 6))), RGB, "it is of 16 bits a channel"),
        (png_of(5, 6, 4, 0, bytes(6 * (1 + 3))), GREY, "it is of 4 bits a channel"),
        (pillow("L", transparency=3), GREY, "it is 8-bit grey with a transparent colour"),
        (pillow("CMYK", "JPEG"), RGB, "it is CMYK"),
        (pillow("RGBA", "WEBP", lossless=True), RGB, "it is RGB with transparency"),
        (IMAGE_ENCODERS["webp"](SOME_RGB), GREY, "its red, green and blue differ"),
        (animated("PNG"), RGB, "it is animated"),
        (animated("WEBP"), RGB, "it is animated"),
        (png(SOME_GREY)[:-30], GREY, "truncated or damaged"),
        (IMAGE_ENCODERS["jpeg"](SOME_GREY)[:-20], GREY, "truncated or damaged"),
    ],
)
def test_an_image_that_is_not_the_models_is_refused_with_what_was_expected(
    data: bytes, expected: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        decode_image(data, expected, MAX_PIXELS)


def test_a_refusal_says_where_in_the_request_the_image_stood() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        decode_image(b"", GREY, MAX_PIXELS, ("body", "images", 3))
    assert refusal.value.problems[0].loc == ("body", "images", 3)


@pytest.mark.parametrize("side", [100, 10_000, 20_000])
def test_a_huge_image_is_too_large_by_its_header_whatever_pillow_thinks_of_it(side: int) -> None:
    header_only = png_of(side, side, 8, 0, b"")
    with pytest.raises(BodyTooLarge, match=str(MAX_PIXELS)):
        decode_image(header_only, GREY, MAX_PIXELS)


def with_orientation(pixels: NDArray[np.uint8], orientation: int, form: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, SOME_RGB),
        (2, SOME_RGB[:, ::-1]),
        (3, SOME_RGB[::-1, ::-1]),
        (4, SOME_RGB[::-1]),
        (5, SOME_RGB.transpose(1, 0, 2)),
        (6, np.rot90(SOME_RGB)),  # "turn by 90° clockwise to show"
        (7, SOME_RGB[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(SOME_RGB, -1)),
        (9, SOME_RGB),  # of no meaning
    ],
)
def test_an_image_is_turned_upright_as_its_exif_says(
    orientation: int, stored: NDArray[np.uint8], form: str, options: dict[str, object]
) -> None:
    file = with_orientation(np.ascontiguousarray(stored), orientation, form, **options)
    np.testing.assert_array_equal(decode_image(file, RGB, MAX_PIXELS), SOME_RGB)


def test_a_photograph_is_turned_too_and_one_that_lies_on_its_side_is_refused() -> None:
    file = with_orientation(np.ascontiguousarray(np.rot90(SOME_RGB)), 6, "JPEG", quality=95)
    assert decode_image(file, RGB, MAX_PIXELS).shape == RGB
    height, width, _ = RGB
    assert height != width
    with pytest.raises(InvalidRequest, match=f"{width}×{height}.*it is {height}×{width}"):
        decode_image(with_orientation(SOME_RGB, 6, "PNG"), RGB, MAX_PIXELS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # as the module itself does; pytest undoes it
@given(st.binary(max_size=200))
def test_damaged_exif_is_refused_or_passed_over_but_never_a_fault(damage: bytes) -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(SOME_RGB).save(buffer, form, exif=b"Exif\0\0II*\0\x08\0\0\0" + damage)
        with contextlib.suppress(InvalidRequest):
            decode_image(buffer.getvalue(), RGB, MAX_PIXELS)


@pytest.mark.parametrize(
    ("mode", "form"),
    [("I;16", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"),
     ("RGBA", "WEBP"), ("F", "TIFF"), ("L", "TIFF"), ("L", "BMP"), ("RGB", "GIF")],
)  # fmt: skip
@pytest.mark.parametrize("expected", [GREY, (*GREY[:2], 3)])
def test_more_or_fewer_bits_transparency_and_other_forms_are_refused_and_never_converted(
    mode: str, form: str, expected: tuple[int, int, int]
) -> None:
    with pytest.raises(InvalidRequest):
        decode_image(pillow(mode, form), expected, MAX_PIXELS)


@given(
    name=st.sampled_from(sorted(IMAGE_ENCODERS)),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 600),
)
def test_damaged_bytes_are_refused_or_read_but_never_a_fault(
    name: str, damage: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(IMAGE_ENCODERS[name](SOME_RGB))
    for position, value in damage:
        content[position % len(content)] = value
    try:
        pixels = decode_image(bytes(content[:length]), RGB, MAX_PIXELS)
    except RequestError:
        return
    assert pixels.shape == RGB
    assert pixels.dtype == np.uint8


@given(st.binary(max_size=300))
def test_base64_is_read_with_and_without_the_data_uri_that_generate_writes(content: bytes) -> None:
    text = base64.b64encode(content).decode()
    assert decode_base64(text) == content
    assert decode_base64(f"data:image/png;base64,{text}") == content


@pytest.mark.parametrize(
    "prefix",
    ["data:image/jpg;base64,", "DATA:image/PNG;Base64,", "data:image/png;charset=utf-8;base64,",
     "data:image/x+y;base64,", "data:image/x-icon;name=a.png;base64,"],
)  # fmt: skip
def test_any_images_data_uri_is_read_since_the_bytes_decide(prefix: str) -> None:
    assert decode_base64(prefix + "QUJD") == b"ABC"


@pytest.mark.parametrize(
    "text",
    ["data:text/plain;base64,QUJD", "data:image/png,QUJD", "data:;base64,QUJD", "data:image/png;base64", "data:",
     "data:image/png;" + "a;" * 200 + "base64,QUJD"],
)  # fmt: skip
def test_another_data_uri_is_refused_with_what_it_must_begin_with(text: str) -> None:
    with pytest.raises(InvalidRequest, match="data:image/TYPE;base64,"):
        decode_base64(text)


@pytest.mark.parametrize("text", ["QUJ", "QUJD\n", "QU JD", "QUJD====", "QUI=QUI=", "data:image/png;base64,QUJ", "é"])
def test_anything_but_strict_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="not valid base64"):
        decode_base64(text)


@pytest.mark.parametrize("count", [1, 3])
def test_an_npy_of_quantised_images_is_read_as_pixels(count: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (count, *RGB), dtype=np.uint8)
    read = decode_npy(npy(pixels), RGB_ARRAYS)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_of_floats_is_read_as_samples_in_either_memory_order(order: str) -> None:
    sample = np.random.default_rng(3).standard_normal((2, 3, 6, 5)).astype(np.float32)
    read = decode_npy(npy(np.asarray(sample, order=order)), RGB_ARRAYS)  # type: ignore[call-overload]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, sample)


def test_an_npy_of_items_has_one_axis_only() -> None:
    assert decode_npy(npy(np.array([3, 1])), {"<i8": ()}).tolist() == [3, 1]
    with pytest.raises(InvalidRequest, match=r"must have shape \[N\] with N ≥ 1; it has \[2, 1\]"):
        decode_npy(npy(np.array([[3], [1]])), {"<i8": ()})
    with pytest.raises(InvalidRequest, match="elements of type '<f4'; expected <i8"):
        decode_npy(npy(np.zeros(2, np.float32)), {"<i8": ()})


def with_header(text: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + content


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not an NPY file"),
        (b"PK\3\4" + bytes(100), "is not an NPY file"),
        (b"\x93NUMPY\4\0" + bytes(100), "NPY version"),
        (b"\x93NUMPY\1\0", "ends inside its header"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 2**31), "header of 2147483648 bytes"),
        (npy(np.array([{}], dtype=object)), "type '|O'"),
        (npy(np.zeros((1, *RGB), np.float64)), "type '<f8'"),
        (npy(np.zeros((1, 3, 6, 5), ">f4")), "type '>f4'"),
        (npy(np.zeros((1, *RGB), np.uint8))[:-1], "must hold 90 bytes after its header"),
        (npy(np.zeros((1, *RGB), np.uint8)) + b"\0", "must hold 90 bytes after its header"),
        (npy(np.zeros((0, *RGB), np.uint8)), "with N ≥ 1"),
        (npy(np.zeros(RGB, np.uint8)), r"must have shape \[N, 6, 5, 3\]"),
        (npy(np.zeros((1, 3, 6, 5), np.uint8)), r"must have shape \[N, 6, 5, 3\]"),
        (npy(np.zeros((1, *RGB), np.float32)), r"must have shape \[N, 3, 6, 5\]"),
        (npy(np.array(0, np.uint8)), "must have shape"),
        (npy(np.full((1, 3, 6, 5), np.nan, np.float32)), "NaN or infinity"),
        (npy(np.full((1, 3, 6, 5), np.inf, np.float32)), "NaN or infinity"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 6)}"), "one dtype, one order"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 2" + "0" * 30 + ")}"), "one shape"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1,) * 9}"), "cannot be read"),
        (with_header("{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}", b"1"), "one order"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (True,)}", b"1"), "one shape"),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}", b"1"), "one dtype"),
        (with_header("__import__('os').getcwd()"), "cannot be read"),
        (with_header("(" * 900), "cannot be read"),
        (with_header("\xff"), "cannot be read"),
    ],
)  # fmt: skip
def test_an_array_that_is_not_a_batch_of_samples_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        decode_npy(data, RGB_ARRAYS)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_random_bytes_are_never_a_fault_of_the_npy_reader(noise: bytes, cut: int) -> None:
    content = npy(np.zeros((1, *RGB), np.uint8))
    with pytest.raises(InvalidRequest):
        decode_npy(content[:cut] + noise, {"|u1": GREY})
