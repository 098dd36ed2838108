"""Image files as people have them: many that all differ, and some that no encoder of ours would write."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from training import data
from training.data import FolderConfig

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_16_BITS, COLOUR_16_BITS = 0, 2  # PNG's colour types


def fill(
    folder: Path, count: int = 64, *, mode: str = "L", size: tuple[int, int] = (6, 5), suffix: str = "png"
) -> None:
    """Write images that all differ; the number is the shade."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new(mode, size, number if mode == "L" else (number, 2 * number, 255)).save(folder / f"{number}.{suffix}")


def load(folder: Path, **options: object) -> data.ImageData:
    """Read a folder."""
    return data.folder.load(FolderConfig(path=str(folder), **options))  # type: ignore[arg-type]  # each test's own keys


def together(images: data.ImageData) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """[N, C, H, W] of both sides."""
    return np.concatenate([images.train, images.held_out])


def chunk(name: bytes, content: bytes) -> bytes:
    """One part of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_16_bits(values: list[int], *, colour_type: int = GREY_16_BITS, transparent: bytes = b"") -> bytes:
    """A PNG of one row with 16 bits a channel, with a transparent colour if wanted."""
    width = len(values) // (3 if colour_type == COLOUR_16_BITS else 1)
    return (
        PNG_SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, colour_type, 0, 0, 0))
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(f">{len(values)}H", *values)))
        + chunk(b"IEND", b"")
    )
