"""Gets the headers and pixels of a source's images: from the cache, else by reading all files.

    few images  ─▶ decoded in this process, into memory
    many        ─▶ in the cache? mapped : decoded by worker processes ─▶ the cache, or memory where it cannot be used

The SHA-256 of the data is that of names and files, so that it does not depend on where the pixels come from.

Shapes: N images, C H W channels, height and width.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import PIL
from numpy.typing import NDArray

from training.data.image_data import Bytes, Fingerprints
from training.data.image_folder import cache, decoding, image_files, notes
from training.data.image_folder.cache import UnkeptError, Writer
from training.data.image_folder.image_files import Header, Step, TargetFormat
from training.data.image_folder.sources import Source
from training.errors import DataError
from training.progress import progress

KEEP_FROM: Final = 16 << 20  # bytes of all files, in whole pages: about a second of decoding
PAGE: Final = 4_096
MEGABYTE, GIGABYTE = 10**6, 10**9
IDENTIFIER_BYTES: Final = 8
# Mixed into the hash of a folder that versions before 0.7 read otherwise: they clipped 16-bit grey, dropped
# transparency, knew no split by folders and sorted numbers as text.
READ_ANEW: Final = b"read anew: split, numbers as classes, 16-bit grey, transparency"


@dataclass(frozen=True)
class Decoded:
    """The images of a source.

    Attributes:
        pixels: [N, C, H, W], in the order asked for.
        sha256: of names and contents, hexadecimal.
        sha256_read_anew: of these and `READ_ANEW`.
        steps: number of images for each step.
        brightest: of the values of 16-bit images.
        copies: how many images have the content of an earlier one.
        fingerprints: [N, 2] of names and contents.
        kept: whether the pixels are in the cache, in words; empty where they are too few to matter.
    """

    pixels: Bytes
    sha256: str
    sha256_read_anew: str
    steps: Counter[Step]
    brightest: int
    copies: int
    fingerprints: Fingerprints
    kept: str


def headers(source: Source, keep_from: int) -> tuple[list[Header], dict[str, str]]:
    """Read the headers of all images.

    Args:
        keep_from: bytes of files from which on the cache is used.

    Returns:
        Those that can be read, and why the others cannot, by name.
    """
    if not _worth(source, keep_from):
        return _read_headers(source, 1)
    key = _key(source, "headers")
    try:
        found = cache.read(key)
        if found is None:
            with cache.building(key):
                found = cache.read(key)
                if found is None:
                    read, unreadable = _read_headers(source, decoding.cores())
                    if unreadable:  # which must be looked at again when they were repaired
                        return read, unreadable
                    rows = np.array([[*header.size, header.channels] for header in read], np.int32)
                    with Writer(key, rows.shape, np.int32) as writer:
                        writer.write(rows)
                        found = writer.commit({"of": f"headers of {source.where}"})
    except UnkeptError:
        return _read_headers(source, decoding.cores())
    return [Header((int(height), int(width)), int(channels)) for height, width, channels in found[0]], {}


def images(source: Source, wanted: TargetFormat, order: NDArray[np.int64], keep_from: int) -> Decoded:
    """Decode all images.

    Args:
        order: [N] which image of the listing each row is.
        keep_from: as in `headers`.

    Raises:
        DataError: if images cannot be read, all in one message, or if there is no room for them.
    """
    shape = (len(order), wanted.channels, *wanted.size)
    if not _worth(source, keep_from):
        return _in_memory(source, wanted, order, 1, "")
    key = _key(source, asdict(wanted), hashlib.sha256(order.tobytes()).hexdigest())
    try:
        found = cache.read(key)
        if found is None:
            with cache.building(key):
                found = cache.read(key)
                if found is None:
                    with Writer(key, shape, np.uint8) as writer:
                        facts = _decode(source, wanted, order, decoding.cores(), writer.write)
                        found = writer.commit(facts)
    except UnkeptError as error:
        return _in_memory(source, wanted, order, decoding.cores(), f"none, {error}; all images are in memory")
    pixels, stored = found
    return _of(source, cast("Bytes", pixels), order, stored, f"{pixels.nbytes / MEGABYTE:,.1f} MB in {cache.folder()}")


def _worth(source: Source, keep_from: int) -> bool:
    """Whether there are enough images for workers and the cache, and files that would be known if they changed."""
    return source.state.settled and source.state.size + PAGE * len(source.listing.names) >= keep_from


def _key(source: Source, *what: object) -> str:
    """Hash of all that the values depend on: the files, what is made of them, and the code that makes it."""
    names = hashlib.sha256(b"\0".join(os.fsencode(name) for name in source.listing.names)).hexdigest()
    code = hashlib.sha256(Path(image_files.__file__).read_bytes()).hexdigest()
    identity = [code, PIL.__version__, source.state.fingerprint, names, *what]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def _read_headers(source: Source, processes: int) -> tuple[list[Header], dict[str, str]]:
    names = source.listing.names
    read, unreadable = [], {}
    found = progress(decoding.headers(source.image_places, processes), "looking at images", len(names), "image")
    for name, header in zip(names, found, strict=True):
        if isinstance(header, str):
            unreadable[name] = header
        else:
            read.append(header)
    return read, unreadable


def _in_memory(source: Source, wanted: TargetFormat, order: NDArray[np.int64], processes: int, told: str) -> Decoded:
    shape = (len(order), wanted.channels, *wanted.size)
    needed, there = math.prod(shape), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise DataError(
            f"{source.where}: {len(order):,} images of {notes.size(wanted.size)} take {needed / GIGABYTE:,.1f} GB of "
            f"memory to read, and this machine has {there / GIGABYTE:,.1f}; set a smaller image_size in [data]"
            + (f" (cache: {told})" if told else "")
        )
    pixels, row = np.empty(shape, np.uint8), 0

    def write(rows: Bytes) -> None:
        nonlocal row
        pixels[row : row + len(rows)] = rows
        row += len(rows)

    return _of(source, pixels, order, _decode(source, wanted, order, processes, write), told)


def _decode(
    source: Source, wanted: TargetFormat, order: NDArray[np.int64], processes: int, write: Callable[[Bytes], None]
) -> dict[str, Any]:
    """Decode all images into `write`, and return what is stored with them."""
    names, places = source.listing.names, source.image_places
    contents = np.empty((len(order), decoding.DIGEST_BYTES), np.uint8)
    steps, brightest, failed, row = Counter[Step](), 0, dict[str, str](), 0

    def take() -> Iterator[int]:
        nonlocal brightest, row
        for chunk in decoding.images([places[number] for number in order], wanted, processes):
            write(chunk.pixels)
            contents[row : row + len(chunk.pixels)] = chunk.contents
            steps.update(chunk.steps)
            brightest = max(brightest, chunk.brightest)
            failed.update({names[order[row + at]]: reason for at, reason in chunk.unreadable.items()})
            row += len(chunk.pixels)
            yield from range(len(chunk.pixels))

    for _ in progress(take(), "decoding images", len(order), "image"):
        pass
    if failed:
        raise notes.refusal(source.where, source.listing, failed)
    digest = hashlib.sha256()
    for name, content in zip(names, contents[np.argsort(order)], strict=True):
        digest.update(os.fsencode(name) + b"\0" + content.tobytes())
    anew = digest.copy()
    anew.update(READ_ANEW)
    return {
        "of": source.where,
        "sha256": digest.hexdigest(),
        "sha256_read_anew": anew.hexdigest(),
        "steps": dict(steps),
        "brightest": brightest,
        "copies": len(order) - len(np.unique(contents, axis=0)),
        "contents": contents[:, :IDENTIFIER_BYTES].tobytes().hex(),
    }


def _of(source: Source, pixels: Bytes, order: NDArray[np.int64], facts: cache.Facts, kept: str) -> Decoded:
    names: Sequence[str] = source.listing.names
    fingerprints = np.empty((len(order), 2), np.uint64)
    of_names = [hashlib.sha256(os.fsencode(names[number])).digest()[:IDENTIFIER_BYTES] for number in order]
    fingerprints[:, 0] = np.frombuffer(b"".join(of_names), ">u8")
    fingerprints[:, 1] = np.frombuffer(bytes.fromhex(facts["contents"]), ">u8")
    return Decoded(
        pixels=pixels,
        sha256=facts["sha256"],
        sha256_read_anew=facts["sha256_read_anew"],
        steps=Counter({Step(step): count for step, count in facts["steps"].items()}),
        brightest=facts["brightest"],
        copies=facts["copies"],
        fingerprints=fingerprints,
        kept=kept,
    )
