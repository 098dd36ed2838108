"""How samples are written: pixels to PNG, JPEG and WebP, many to one contact sheet, arrays to NPY.

Pure functions: equal pixels give equal bytes, so that an answer can be cached by its hash.

PNG is written here and not by Pillow, because a service of small images spends more time there than in the network. It
is the plain case of the specification: 8 bits, no interlace, one filter a file. Its deflate is ISA-L's, which is
several times faster than zlib's at about the same size.

Shapes: N images, H height, W width, C channels (1 grey, 3 RGB).

References:
    Portable Network Graphics (PNG) Specification, Third Edition, W3C 2025: §5.3 (chunks), §9.2 (filters).
    Intel Intelligent Storage Acceleration Library (ISA-L), igzip.
"""

import io
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import isal
import numpy as np
import PIL
from isal import isal_zlib
from numpy.typing import DTypeLike, NDArray
from PIL import Image, features

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH = 8
PNG_COLOUR_TYPES: Final[Mapping[int, int]] = {1: 0, 3: 2}  # channels → the specification's number: grey, truecolour
PNG_FILTER_NONE = 0
PNG_FILTER_UP = 2
# Of ISA-L's levels 0 … 3: 0 makes photographs larger, and above 1 nothing gets smaller.
DEFLATE_LEVEL = 1
# JPEG's artefacts are no longer visible at 95; 4:4:4 keeps colour at full resolution, which small images need.
JPEG_QUALITY = 95
JPEG_CHROMA_4_4_4 = 0
# libwebp's effort, 0 … 6. Four packs small images smaller than 0; above a megapixel 0 bounds the time of the worst
# case, noise.
WEBP_EFFORT = 4
WEBP_EFFORT_PIXELS = 2**20

# NPY headers that are remembered, because writing one takes longer than writing a small array.
KNOWN_HEADERS = 256


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", isal_zlib.crc32(kind + content))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Write one image [H, W, C] as PNG, without loss.

    Grey rows are stored unfiltered, since drawings and digits compress best that way; RGB rows as differences to the
    row above, since photographs do.
    """
    height, width, channels = pixels.shape
    rows = np.empty((height, 1 + width * channels), dtype=np.uint8)
    flat = pixels.reshape(height, width * channels)
    if channels == 1:
        rows[:, 0] = PNG_FILTER_NONE
        rows[:, 1:] = flat
    else:
        rows[:, 0] = PNG_FILTER_UP
        rows[0, 1:] = flat[0]
        np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # modulo 256, as the filter is defined
    header = struct.pack(">IIBBBBB", width, height, PNG_BIT_DEPTH, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            PNG_SIGNATURE,
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", isal_zlib.compress(rows.data, DEFLATE_LEVEL)),
            _png_chunk(b"IEND", b""),
        )
    )


def _pillow_image(pixels: NDArray[np.uint8]) -> Image.Image:
    grey = pixels.shape[-1] == 1
    return Image.fromarray(pixels[..., 0] if grey else pixels)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Write one image [H, W, C] as JPEG. It is the only lossy form, so the file's score is not the sample's."""
    buffer = io.BytesIO()
    _pillow_image(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=JPEG_CHROMA_4_4_4)
    return buffer.getvalue()


def webp(pixels: NDArray[np.uint8]) -> bytes:
    """Write one image [H, W, C] as WebP, without loss; grey becomes three equal channels, since WebP has no grey."""
    effort = WEBP_EFFORT if pixels.shape[0] * pixels.shape[1] <= WEBP_EFFORT_PIXELS else 0
    buffer = io.BytesIO()
    _pillow_image(pixels).save(buffer, "WEBP", lossless=True, method=effort)
    return buffer.getvalue()


# Format name (as in `negotiation.py`) → writer of one image.
IMAGE_ENCODERS: Final[Mapping[str, Callable[[NDArray[np.uint8]], bytes]]] = {"png": png, "jpeg": jpeg, "webp": webp}


def library_versions() -> dict[str, str | None]:
    """Library → version, of all that these encoders write with; None where Pillow was built without it."""
    versions: dict[str, str | None] = {
        "isal": isal.__version__,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "pillow": PIL.__version__,
    }
    return versions | {name: features.version(name) for name in ("libjpeg_turbo", "jpg", "webp")}


def picture(pixels: NDArray[np.uint8], name: str) -> bytes:
    """Write one image, or several as a contact sheet.

    Args:
        pixels: [N, H, W, C], N ≥ 1.
        name: of the format, a key of `IMAGE_ENCODERS`.
    """
    return IMAGE_ENCODERS[name](pixels[0] if len(pixels) == 1 else contact_sheet(pixels))


def contact_sheet(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay images side by side, row by row, on the smallest near-square grid; empty cells are black.

    Args:
        pixels: [N, H, W, C], N ≥ 1.

    Returns:
        [R·H, ⌈√N⌉·W, C] with R = ⌈N / ⌈√N⌉⌉ rows: 64 images make 8×8, 5 make 2 rows of 3.
    """
    count, height, width, channels = pixels.shape
    columns = math.isqrt(count - 1) + 1  # ⌈√N⌉ in integers
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    cells[:count] = pixels
    grid = cells.reshape(rows, columns, height, width, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def npy(array: NDArray[np.generic]) -> bytes:
    """Write a whole NPY file."""
    return npy_header(array.shape, array.dtype) + array.tobytes()


@lru_cache(maxsize=KNOWN_HEADERS)
def npy_header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """Write magic bytes and header of an NPY file, version 1.0; the array's bytes follow in C order.

    Args:
        shape: of the whole array, so that the file's length, `len(header) + prod(shape) * itemsize`, is known before
            its first sample is computed.
        dtype: of its elements.
    """
    buffer = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()
