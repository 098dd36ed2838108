"""The types of sample that a package can make, images, vectors and items: how each is encoded and decoded.

Shapes: N samples, C channels, H height, W width, D numbers of a vector.
"""

import base64
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest, Problem
from service.media.decoders import Loc, decode_npy
from service.media.encoders import npy, png
from service.media.negotiation import MEDIA, Media
from service.packages.schema import ImageSample, ItemSample, VectorSample

Field = Literal["image", "values", "item"]
DtypeName = Literal["uint8", "float32"]
Array = NDArray[np.generic]
Row = tuple[tuple[int, ...], np.dtype[np.generic]]

# Cached; a service has a few packages.
KNOWN_KINDS = 128

UINT8, FLOAT32, INT64 = np.dtype(np.uint8), np.dtype("<f4"), np.dtype("<i8")
# Forms that any sample can take; the others are images.
ARRAY_FORMS: Final = tuple(media for media in MEDIA if not media.media_type.startswith("image/"))


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one size, answered as pixels or as the generator's raw floats."""

    height: int
    width: int
    channels: int

    words: ClassVar[str] = "images"
    field: ClassVar[Field] = "image"
    suffix: ClassVar[str] = "png"
    media: ClassVar[tuple[Media, ...]] = MEDIA
    dtypes: ClassVar[tuple[DtypeName, ...]] = ("uint8", "float32")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.height, self.width, self.channels

    def row(self, *, raw_values: bool) -> Row:
        """Shape and element type of one sample: pixels, or raw floats."""
        return ((self.channels, self.height, self.width), FLOAT32) if raw_values else (self.shape, UINT8)

    def written(self, row: Array) -> str:
        """Encode pixels [H, W, C] as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.file(row)).decode()

    def file(self, row: Array) -> bytes:
        """Encode pixels [H, W, C] as a PNG."""
        return png(row.astype(np.uint8, copy=False))

    def read(self, rows: list[list[float]]) -> Array:
        """Read flat lists of raw values as [N, C, H, W]."""
        _check_lengths(rows, math.prod(self.shape), f"{self.channels}·{self.height}·{self.width} = ")
        return np.array(rows, dtype=np.float32).reshape(-1, self.channels, self.height, self.width)

    def read_npy(self, content: bytes) -> Array:
        """Read an NPY file as pixels [N, H, W, C] uint8, or raw values [N, C, H, W] float32."""
        return decode_npy(content, {"|u1": self.shape, "<f4": (self.channels, self.height, self.width)})


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of D numbers."""

    size: int

    field: ClassVar[Field] = "values"
    suffix: ClassVar[str] = "npy"
    media: ClassVar[tuple[Media, ...]] = ARRAY_FORMS
    dtypes: ClassVar[tuple[DtypeName, ...]] = ("float32",)

    @property
    def words(self) -> str:
        """What samples are called in messages."""
        return f"vectors of {self.size} numbers"

    def row(self, *, raw_values: bool) -> Row:
        """Shape and element type of one sample."""
        return (self.size,), FLOAT32

    def written(self, row: Array) -> list[float]:
        """Numbers of a vector [D], which read back as the same float32."""
        values: list[float] = row.tolist()
        return values

    def file(self, row: Array) -> bytes:
        """Encode a vector [D] as an NPY file."""
        return npy(row)

    def read(self, rows: list[list[float]]) -> Array:
        """Read lists of numbers as [N, D]."""
        _check_lengths(rows, self.size)
        return np.array(rows, dtype=np.float32)

    def read_npy(self, content: bytes) -> Array:
        """Read an NPY file as [N, D] float32."""
        return decode_npy(content, {"<f4": (self.size,)})


@dataclass(frozen=True, slots=True)
class Items:
    """Ids of `count` items."""

    count: int

    field: ClassVar[Field] = "item"
    suffix: ClassVar[str] = "npy"
    media: ClassVar[tuple[Media, ...]] = ARRAY_FORMS
    dtypes: ClassVar[tuple[DtypeName, ...]] = ()

    @property
    def words(self) -> str:
        """What samples are called in messages."""
        return f"items, ids from 0 to {self.count - 1}"

    def row(self, *, raw_values: bool) -> Row:
        """Shape and element type of one sample."""
        return (), INT64

    def written(self, row: Array) -> int:
        """The id of an item."""
        return int(row)

    def file(self, row: Array) -> bytes:
        """Encode an item as an NPY file without axes."""
        return npy(np.asarray(row))

    def read(self, rows: list[list[float]]) -> Array:
        """Read lists of one id each as [N] int64."""
        _check_lengths(rows, 1)
        items = np.array(rows, dtype=np.float64)[:, 0]
        self._check(items, ("body", "samples"))
        return items.astype(np.int64)

    def read_npy(self, content: bytes) -> Array:
        """Read an NPY file as [N] int64."""
        items = decode_npy(content, {"<i8": ()})
        self._check(items, ("body",))
        return items

    def _check(self, items: Array, loc: Loc) -> None:
        """Refuse ids that the package does not have."""
        numbers = items.astype(np.float64)
        broken = np.flatnonzero((numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= self.count))
        if broken.size:
            words = f"an item of this package is a whole number from 0 to {self.count - 1}"
            raise InvalidRequest(Problem((*loc, int(broken[0])), words))


Kind = Images | Vectors | Items


def kind_of(sample: ImageSample | VectorSample | ItemSample) -> Kind:
    """The type of sample that a manifest describes."""
    match sample:
        case ImageSample(height=height, width=width, channels=channels):
            return Images(height, width, channels)
        case VectorSample(size=size):
            return Vectors(size)
        case ItemSample(count=count):
            return Items(count)


@lru_cache(maxsize=KNOWN_KINDS)
def sample_bytes(kind: Kind, *, raw_values: bool) -> int:
    """Bytes of one sample: of its pixels, or of its raw values."""
    shape, dtype = kind.row(raw_values=raw_values)
    return math.prod(shape) * dtype.itemsize


def _check_lengths(rows: list[list[float]], size: int, reckoning: str = "") -> None:
    for index, row in enumerate(rows):
        if len(row) != size:
            words = f"a sample of this package has {reckoning}{size} numbers, not {len(row)}"
            raise InvalidRequest(Problem(("body", "samples", index), words))
