"""Reads one image file as 8-bit grey or colour, upright and opaque, and reports the conversions.

    file ─▶ first frame ─▶ upright (EXIF) ─▶ 8 bits ─▶ on the background ─▶ grey or RGB ─▶ wanted size

Transparency is removed before scaling, because the colours of transparent pixels would bleed into the edges. Colour
profiles and gamma are ignored.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from training.data.image_data import Bytes

GREY, COLOUR = 1, 3  # channels
MODES: Final = {GREY: "L", COLOUR: "RGB"}
DEEP_GREY: Final = frozenset({"I;16", "I;16B", "I;16L"})  # 16 bits a pixel, or 12 in TIFF
# Pillow's modes and their channels. Others are refused: they have no defined range (I, F), or no conversion without a
# colour profile (LAB).
CHANNELS: Final = {
    **dict.fromkeys(("1", "L", "LA", *DEEP_GREY), GREY),
    **dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"), COLOUR),
}
OPAQUE = 255
DEEP_STEP = 257  # 65,535 / 255: white stays white
TWELVE_BITS, LARGEST_TWELVE = 12, 4_095
INVERTED_PHOTOMETRIC = 0  # TIFF's "white is zero", which Pillow undoes for up to 8 bits only
UPRIGHT, FIRST_SIDEWAYS, LAST_ORIENTATION = 1, 5, 8  # of EXIF; from 5 on, height and width are exchanged
# Errors of Pillow and its codecs on damaged files.
DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

Background = Literal["white", "black"]


class UnreadableError(Exception):
    """A file that cannot be read; its text is the reason, as the end of a sentence."""


class Step(StrEnum):
    """A conversion of images, in words for several of them."""

    FIRST_FRAME = "have several frames, of which the first is taken"
    TURNED = "are turned upright (EXIF orientation)"
    DEEP = "have 16-bit grey, which is divided by 257"
    TRANSPARENT = "are partly transparent and are laid on the background"
    PRINT = "are CMYK and become RGB without a colour profile"
    GREYED = "are in colour and become grey"
    COLOURED = "are grey and become RGB"


@dataclass(frozen=True)
class Header:
    """An image's header.

    Attributes:
        size: height and width, upright.
        channels: 1 where its pixels are grey, else 3.
    """

    size: tuple[int, int]
    channels: int


@dataclass(frozen=True)
class TargetFormat:
    """The format of all images.

    Attributes:
        channels: 1 or 3.
    """

    channels: int
    size: tuple[int, int]
    background: Background


@dataclass(frozen=True)
class Decoded:
    """An image.

    Attributes:
        pixels: [C, H, W].
        brightest: largest value of a 16-bit file; else 0.
    """

    pixels: Bytes
    steps: frozenset[Step]
    brightest: int = 0


def read_header(file: BinaryIO) -> Header:
    """Read an image's header.

    Args:
        file: at its start, which can be sought in.

    Returns:
        What it says of its pixels.

    Raises:
        UnreadableError: if it is no image, or one whose values have no stated range.
    """
    with _decoder_errors(), Image.open(file) as image:
        _check_mode(image)
        width, height = image.size
        # A TIFF's size is upright already. A PNG may have its EXIF after its pixels; reading it would decode them.
        as_stored = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
        sideways = not as_stored and _orientation(image) >= FIRST_SIDEWAYS
        return Header((width, height) if sideways else (height, width), CHANNELS[image.mode])


def decode(content: bytes, wanted: TargetFormat) -> Decoded:
    """Read an image and convert it.

    Returns:
        The image and its conversions.

    Raises:
        UnreadableError: if it is damaged, or has values without a stated range.
    """
    steps: set[Step] = set()
    brightest = 0
    with _decoder_errors(), Image.open(io.BytesIO(content)) as file:
        _check_mode(file)
        # An MPO is one photograph, followed by previews and depth.
        if getattr(file, "is_animated", False) and file.format != "MPO":
            steps.add(Step.FIRST_FRAME)
        deepest = _deepest(file)
        if _orientation(file) != UPRIGHT:
            steps.add(Step.TURNED)
        image = ImageOps.exif_transpose(file)
        if image.mode in DEEP_GREY:
            steps.add(Step.DEEP)
            image, brightest = _shallow(image, deepest)
        elif image.mode == "CMYK":
            steps.add(Step.PRINT)
        natural = CHANNELS[image.mode]
        if natural != wanted.channels:
            steps.add(Step.GREYED if wanted.channels == GREY else Step.COLOURED)
        if image.has_transparency_data:
            image, seen = _opaque(image, wanted.background)
            steps |= {Step.TRANSPARENT} if seen else set()
        image = image.convert(MODES[wanted.channels])
        height, width = wanted.size
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        pixels = np.atleast_3d(np.asarray(image, dtype=np.uint8)).transpose(2, 0, 1)
    return Decoded(pixels, frozenset(steps), brightest)


def _check_mode(image: Image.Image) -> None:
    if image.mode not in CHANNELS:
        raise UnreadableError(
            f"has pixels of the mode {image.mode}, whose range is not stated; convert to 8 bits first"
        )


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    return found if found in range(UPRIGHT, LAST_ORIENTATION + 1) else UPRIGHT


def _deepest(image: Image.Image) -> int:
    """The value of white in 16-bit grey."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.mode not in DEEP_GREY:
        return DEEP_STEP * OPAQUE
    if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == INVERTED_PHOTOMETRIC:
        raise UnreadableError("has 16-bit grey with white as zero; convert to 8 bits first")
    return LARGEST_TWELVE if image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (TWELVE_BITS,) else DEEP_STEP * OPAQUE


def _shallow(image: Image.Image, white: int) -> tuple[Image.Image, int]:
    """16-bit grey as 8-bit grey, with its transparent colour if it has one; and its brightest value."""
    values = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((values * OPAQUE + white // 2) // white).clip(0, OPAQUE).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, OPAQUE).astype(np.uint8)))
    return grey, int(values.max())


def _opaque(image: Image.Image, background: Background) -> tuple[Image.Image, bool]:
    """RGB, and whether the background is seen anywhere."""
    colour = image.info.get("transparency")
    if isinstance(colour, tuple) and max(colour) > OPAQUE:  # Pillow compares it with pixels cut to 8 bits
        raise UnreadableError("has 16-bit colour, one of them transparent; convert to 8 bits first")
    layer = image.convert("RGBA")
    lowest, _ = layer.getchannel("A").getextrema()
    if lowest == OPAQUE:
        return layer.convert("RGB"), False
    canvas = Image.new("RGBA", image.size, background)
    canvas.alpha_composite(layer)
    return canvas.convert("RGB"), True


@contextmanager
def _decoder_errors() -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise UnreadableError("is no image of a format that is read") from error
    except DECODER_ERRORS as error:
        raise UnreadableError(f"is damaged: {error}") from error
