"""MNIST: 70,000 handwritten digits of 28x28 pixels, read from its four IDX files.

An IDX file: 2 bytes 0 · 1 byte type (8 = unsigned byte) · 1 byte number of axes · a big-endian uint32 for each axis ·
the values. The SHA-256 of the decompressed content is checked; files may be packed or not. They are looked for in the
configured folder, else in `$GANYMEDE_DATA_DIR/mnist`, else in `~/.cache/ganymede/mnist`, and downloaded only by
`python -m training data mnist`.

References:
    LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998).
"""

import gzip
import hashlib
import math
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from training.data.image_data import Bytes, ImageData, Labels
from training.errors import DataError
from training.files import write_atomically
from training.progress import progress

UNSIGNED_BYTE = 8
MAGIC_SIZE = 4
AXIS_SIZE = 4


def parse_idx(content: bytes, name: str) -> Bytes:
    """Read an IDX file of unsigned bytes.

    Args:
        content: the whole file, decompressed.

    Returns:
        A read-only array over `content`.

    Raises:
        DataError: if it is no such file, or its header does not account for its size.
    """
    if len(content) < MAGIC_SIZE or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise DataError(f"{name} is not an IDX file of unsigned bytes")
    axes = content[3]
    header_size = MAGIC_SIZE + AXIS_SIZE * axes
    if len(content) < header_size:
        raise DataError(f"{name} ends within its header")
    shape = [int.from_bytes(content[at : at + AXIS_SIZE], "big") for at in range(MAGIC_SIZE, header_size, AXIS_SIZE)]
    expected = header_size + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{name} has {len(content)} bytes where its header says {expected}")
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

# Of the decompressed files; packed ones differ between mirrors by their time stamps.
SHA256: Final = {
    TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS: Final = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
DOWNLOAD_TIMEOUT_S = 30  # without a byte
LARGEST_DOWNLOAD = 16 << 20  # bytes; the largest real file is 9.9 MB packed


@dataclass(frozen=True, kw_only=True)
class MnistConfig:
    """The `[data]` table of kind "mnist".

    Attributes:
        path: folder of the four files; empty for the standard places.
    """

    kind: ClassVar[str] = "mnist"
    path: str = ""


def folder(path: str = "") -> Path:
    """Folder of the files.

    Args:
        path: the configured folder, or empty.

    Returns:
        The configured folder, else `$GANYMEDE_DATA_DIR/mnist`, else `~/.cache/ganymede/mnist`.
    """
    if path:
        return Path(path).expanduser()
    root = os.environ.get("GANYMEDE_DATA_DIR")
    return (Path(root) if root else Path.home() / ".cache" / "ganymede") / "mnist"


def load(config: MnistConfig) -> ImageData:
    """Read and check the four files.

    Returns:
        60,000 images to train on and the 10,000 test images held out, [N, 1, 28, 28], with labels.

    Raises:
        DataError: if a file is missing, unreadable or not MNIST's.
    """
    where = folder(config.path)
    contents = {name: _read(where, name) for name in SHA256}
    return ImageData(
        name="mnist",
        train=_images(contents[TRAIN_IMAGES], TRAIN_IMAGES),
        held_out=_images(contents[TEST_IMAGES], TEST_IMAGES),
        train_labels=_labels(contents[TRAIN_LABELS], TRAIN_LABELS),
        held_out_labels=_labels(contents[TEST_LABELS], TEST_LABELS),
        label_names=tuple("0123456789"),
        sha256=hashlib.sha256(b"".join(contents.values())).hexdigest(),
        attribution="MNIST, Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0",
    )


def download(mirrors: Sequence[str] = MIRRORS) -> Path:
    """Download the missing files into the standard folder.

    Args:
        mirrors: base addresses, tried in order for each file.

    Returns:
        The folder, complete and checked.

    Raises:
        DataError: if no mirror has a valid copy of a file, with the answer of each.
    """
    where = folder()
    where.mkdir(parents=True, exist_ok=True)
    for name in progress(SHA256, "fetching MNIST", len(SHA256), "file"):
        if _find(where, name) is None:
            write_atomically(where / f"{name}.gz", _fetch(name, mirrors))
        _read(where, name)
    return where


def _fetch(name: str, mirrors: Sequence[str]) -> bytes:
    answers = []
    for mirror in mirrors:
        address = f"{mirror}/{name}.gz"
        try:
            with urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT_S) as response:  # noqa: S310 - constant, or the caller's
                packed: bytes = response.read(LARGEST_DOWNLOAD)
            _check(gzip.decompress(packed), name, address)
        except (DataError, OSError, EOFError, zlib.error) as error:
            answers.append(f"{address}: {error}")
        else:
            return packed
    raise DataError(f"no mirror has a good {name}.gz ({'; '.join(answers)})")


def _find(where: Path, name: str) -> Path | None:
    return next((path for path in (where / name, where / f"{name}.gz") if path.is_file()), None)


def _read(where: Path, name: str) -> bytes:
    path = _find(where, name)
    if path is None:
        raise DataError(
            f"no MNIST in {where}: {name} is missing, packed (.gz) or not; "
            "fetch it with `python -m training data mnist`, or name the folder that has it with --data-path"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    _check(content, name, str(path))
    return content


def _check(content: bytes, name: str, source: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise DataError(f"{source} is not MNIST's {name}: its SHA-256 is {found} and should be {SHA256[name]}")


def _images(content: bytes, name: str) -> Bytes:
    return parse_idx(content, name)[:, np.newaxis]


def _labels(content: bytes, name: str) -> Labels:
    return parse_idx(content, name).astype(np.int64)
