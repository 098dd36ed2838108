"""How samples are read: PNG, JPEG, WebP, NPY and base64, from untrusted bytes.

Every limit is checked before a pixel is decoded, and nothing is converted: a score of a resized or recoloured image
would be the score of another image. What does not fit is refused with what was expected and what was found.

The bytes decide the format, not the file name or media type that came with them. The EXIF orientation is applied, as in
training and as viewers do. Other metadata (colour profiles, gamma) is ignored.

Shapes: N samples, H height, W width, C channels (1 grey, 3 RGB).
"""

import ast
import binascii
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from service.errors import BodyTooLarge, InvalidRequest, Problem

Loc = tuple[str | int, ...]
BODY: Loc = ("body",)

# The formats that /generate writes, by Pillow's names. Pillow reads dozens more; each is a decoder open to the network.
FORMATS = ("PNG", "JPEG", "WEBP")
IMAGE_TYPES: Final = frozenset(f"image/{name.lower()}" for name in FORMATS)
MODES: Final[Mapping[int, str]] = {1: "L", 3: "RGB"}  # channels → Pillow's mode with 8 bits each
MODE_WORDS: Final[Mapping[str, str]] = {
    "1": "black and white (1 bit)",
    "L": "8-bit grey",
    "LA": "grey with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGB": "8-bit RGB",
    "RGBA": "RGB with transparency",
    "CMYK": "CMYK",
    "I": "32-bit grey",
    "I;16": "16-bit grey",
}
BITS = 8  # of one channel of one pixel
PNG_BITS_OFFSET = 24  # signature 8, length 4, "IHDR" 4, width 4, height 4

NPY_MAGIC = b"\x93NUMPY"
# Version → how the header's length is written.
NPY_HEADER_LENGTHS: Final[Mapping[bytes, struct.Struct]] = {
    b"\1\0": struct.Struct("<H"),
    b"\2\0": struct.Struct("<I"),
    b"\3\0": struct.Struct("<I"),
}
MAX_NPY_HEADER_BYTES = 1024  # NumPy writes 128 for most arrays
MAX_NPY_AXES = 8
MAX_NPY_AXIS = 2**31 - 1  # an empty array may state any axis, and NumPy raises beyond 63 bits
# Where Pillow finds an orientation. Most images have none, and looking takes as long as decoding a small image.
ORIENTED: Final = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})
# Of any image type, since the bytes decide; type, parameters and case as in RFC 2397.
DATA_URI: Final = re.compile(r"data:image/[^,;]+(?:;[^,;]+)*;base64,", re.ASCII | re.IGNORECASE)
DATA_SCHEME: Final = "data:"
MAX_DATA_URI_PREFIX = 256
NOT_DATA_URI = "The image is a data URI that does not begin with data:image/TYPE;base64, as an image's in base64 does."
BASE64_BYTES, BASE64_CHARACTERS = 3, 4  # three bytes are written as four characters
NOT_BASE64 = "The image is not valid base64 (RFC 4648, with padding, without line breaks)."
# What Pillow and its codecs raise on damaged files, and its reader of EXIF on damaged metadata.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)

# Pillow warns above 89 million pixels and raises above twice that; here both mean "too large". The filter is global,
# because `warnings.catch_warnings` is not thread-safe.
warnings.simplefilter("error", Image.DecompressionBombWarning)
# Pillow warns of EXIF that ends too soon and ignores it. The fault is the caller's and does not belong in our log.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


def _refusal(loc: Loc, message: str) -> InvalidRequest:
    return InvalidRequest(Problem(loc, message))


def _check_mode(image: Image.Image, data: bytes, channels: int, loc: Loc) -> None:
    """Refuse every mode but the model's; a WebP may be RGB for a grey model too, because WebP has no grey."""
    expected = MODES[channels]
    found = MODE_WORDS.get(image.mode, f"mode {image.mode}")
    bits = data[PNG_BITS_OFFSET] if image.format == "PNG" else BITS
    if image.mode in MODES.values() and bits != BITS:  # Pillow would silently reduce 16-bit RGB to 8
        found = f"of {bits} bits a channel"
    elif "transparency" in image.info:
        found = f"{found} with a transparent colour"
    elif image.mode == expected or (image.mode == "RGB" and image.format == "WEBP"):
        return
    raise _refusal(loc, f"The image must be {MODE_WORDS[expected]}; it is {found}.")


def _decode_file(data: bytes, expected: tuple[int, int, int], max_pixels: int, loc: Loc) -> NDArray[np.uint8]:
    """Read [H, W] or [H, W, 3], checking size and mode on the header first."""
    height, width, channels = expected
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise BodyTooLarge(f"The image has {image.width}×{image.height} pixels; at most {max_pixels} are decoded.")
        if image.size not in {(width, height), (height, width)}:
            raise _size_refusal(image, expected, loc)
        if getattr(image, "is_animated", False):
            raise _refusal(loc, "The image must be a single one; it is animated.")
        _check_mode(image, data, channels, loc)
        image.load()  # a PNG may have its EXIF behind its pixels
        upright = image if ORIENTED.isdisjoint(image.info) else ImageOps.exif_transpose(image)
        if upright.size != (width, height):
            raise _size_refusal(upright, expected, loc)
        return np.array(upright, dtype=np.uint8)


def _size_refusal(image: Image.Image, expected: tuple[int, int, int], loc: Loc) -> InvalidRequest:
    height, width, _ = expected
    found = f"{image.width}×{image.height}"
    return _refusal(loc, f"The image must be {width}×{height} pixels (width×height); it is {found}.")


def decode_image(data: bytes, expected: tuple[int, int, int], max_pixels: int, loc: Loc = BODY) -> NDArray[np.uint8]:
    """Read one image of exactly the model's size and mode.

    Args:
        data: a PNG, JPEG or WebP file, told apart by its first bytes.
        expected: (H, W, C) of the model's samples.
        max_pixels: most pixels to decode, checked on the file's header.
        loc: where the image stood in the request, for the message.

    Returns:
        uint8 [H, W, C].

    Raises:
        InvalidRequest: it is no such file, is damaged or animated, or has another size or mode.
        BodyTooLarge: it has more than `max_pixels` pixels.
    """
    if not data:
        raise _refusal(loc, "The image is empty (0 bytes).")
    try:
        pixels = _decode_file(data, expected, max_pixels, loc)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BodyTooLarge(f"The image has far more than the {max_pixels} pixels that are decoded.") from error
    except UnidentifiedImageError as error:
        raise _refusal(loc, f"The bytes are not an image in any of the formats {', '.join(FORMATS)}.") from error
    except DECODER_ERRORS as error:
        raise _refusal(loc, "The image is truncated or damaged.") from error
    *_, channels = expected
    if channels == 1 and pixels.ndim > len("HW"):
        if (pixels != pixels[..., :1]).any():
            raise _refusal(loc, "The image must be grey; its red, green and blue differ.")
        pixels = pixels[..., 0]
    return pixels.reshape(expected)


def decode_base64(text: str, loc: Loc = BODY) -> bytes:
    """Read strict base64, with or without the prefix of an image's data URI.

    Raises:
        InvalidRequest: a character outside the alphabet, wrong padding, anything after it, or another prefix.
    """
    head = text[:MAX_DATA_URI_PREFIX]
    if head[: len(DATA_SCHEME)].lower() == DATA_SCHEME:
        prefix = DATA_URI.match(head)
        if prefix is None:
            raise _refusal(loc, NOT_DATA_URI)
        text = text[prefix.end() :]
    try:
        content = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise _refusal(loc, NOT_BASE64) from error
    # Even strict mode accepts several encodings of the last bytes; only the canonical one is taken.
    end = content[len(content) // BASE64_BYTES * BASE64_BYTES :] or content[-BASE64_BYTES:]
    if binascii.b2a_base64(end, newline=False).decode() != text[-BASE64_CHARACTERS:]:
        raise _refusal(loc, NOT_BASE64)
    return content


def _npy_description(header: bytes) -> tuple[str, bool, tuple[int, ...]]:
    """(descr, fortran_order, shape) of a literal of at most `MAX_NPY_HEADER_BYTES`."""
    try:
        description = ast.literal_eval(header.decode())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("has a header that cannot be read") from error
    match description:
        case {"descr": str(descr), "fortran_order": bool(fortran_order), "shape": tuple(shape), **rest} if not rest:
            if len(shape) <= MAX_NPY_AXES and all(type(axis) is int and 0 <= axis <= MAX_NPY_AXIS for axis in shape):
                return descr, fortran_order, shape
    raise ValueError("has a header that does not state one dtype, one order and one shape")


def parse_npy(data: bytes, dtypes: tuple[str, ...]) -> NDArray[np.generic]:
    """Read an NPY file without NumPy's own reader, which evaluates and accepts more than is safe.

    Args:
        data: the whole file, version 1.0, 2.0 or 3.0.
        dtypes: element types to accept, as NPY writes them (`<f4`); never objects.

    Returns:
        The array, in C order; a view of `data` where that was its order.

    Raises:
        ValueError: what is wrong, as the end of a sentence such as "The array …".
    """
    if data[: len(NPY_MAGIC)] != NPY_MAGIC:
        raise ValueError("is not an NPY file")
    length = NPY_HEADER_LENGTHS.get(data[len(NPY_MAGIC) : len(NPY_MAGIC) + 2])
    if length is None:
        raise ValueError("has an NPY version other than 1.0, 2.0 and 3.0")
    start = len(NPY_MAGIC) + 2 + length.size
    if len(data) < start:
        raise ValueError("ends inside its header")
    (header_bytes,) = length.unpack_from(data, len(NPY_MAGIC) + 2)
    if header_bytes > MAX_NPY_HEADER_BYTES:
        raise ValueError(f"has a header of {header_bytes} bytes; at most {MAX_NPY_HEADER_BYTES} are read")
    end = start + header_bytes
    descr, fortran_order, shape = _npy_description(data[start:end])
    if descr not in dtypes:
        raise ValueError(f"has elements of type {descr!r}; expected {' or '.join(dtypes)}")
    dtype = np.dtype(descr)
    expected_bytes = math.prod(shape) * dtype.itemsize
    if len(data) - end != expected_bytes:
        raise ValueError(
            f"must hold {expected_bytes} bytes after its header for shape {shape}; holds {len(data) - end}"
        )
    flat = np.frombuffer(data, dtype, offset=end)
    return np.ascontiguousarray(flat.reshape(shape, order="F" if fortran_order else "C"))


def decode_npy(data: bytes, expected: Mapping[str, tuple[int, ...]], loc: Loc = BODY) -> NDArray[np.generic]:
    """Read a batch of samples.

    Args:
        data: an NPY file of shape [N, …], N ≥ 1.
        expected: element type to accept, as NPY writes it (`|u1`, `<f4`, `<i8`) → the shape of one sample in it.
        loc: where the file stood in the request, for the message.

    Returns:
        [N, …], finite.

    Raises:
        InvalidRequest: another type or shape, a number that is not finite, bytes missing or left over, pickled objects.
    """
    try:
        array = parse_npy(data, tuple(expected))
    except ValueError as error:
        raise _refusal(loc, f"The array {error}.") from error
    shape = next(shape for descr, shape in expected.items() if np.dtype(descr) == array.dtype)
    if array.ndim == 0 or array.shape[1:] != shape or not array.shape[0]:
        wanted = ", ".join(["N", *map(str, shape)])
        raise _refusal(
            loc, f"The {array.dtype} array must have shape [{wanted}] with N ≥ 1; it has {list(array.shape)}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _refusal(loc, "The array holds NaN or infinity.")
    return array
