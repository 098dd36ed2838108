"""The bytes of a shard, in pieces: one NPY array, or a tar archive as WebDataset reads it.

    shard-000000.npy    [count, …], as POST /generate answers it
    shard-000000.tar    000000000007.png   the sample, the bytes that a ZIP answer has (of vectors and items .npy)
                        000000000007.json  {"seed": 7, "label": 3, …}, what its index says

Nothing of a piece depends on when, where or by whom it is written.

References:
    POSIX.1-2017, pax: ustar Interchange Format.
"""

import json
import tarfile
from typing import Final, Protocol

import numpy as np

from service.api.requests.generate import GeneratePlan
from service.api.responses.encoding import columns_of, rows_of
from service.engine.interface import Samples
from service.media.encoders import npy_header
from service.media.negotiation import MEDIA, Media
from service.metrics import Telemetry

_MEDIA: Final = {media.name: media for media in MEDIA}
BLOCK: Final = tarfile.BLOCKSIZE
END_OF_ARCHIVE: Final = bytes(2 * BLOCK)
SEED_DIGITS: Final = 12

# Every header but for name, size and checksum: a regular file, readable by all, of nobody, at the first instant.
_EMPTY: Final = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_SIZE: Final = slice(124, 136)
_CHECKSUM: Final = slice(148, 156)
_UNSUMMED: Final = _EMPTY[: _CHECKSUM.start] + b" " * 8 + _EMPTY[_CHECKSUM.stop :]


class ShardWriter(Protocol):
    """Makes the pieces of a shard.

    Attributes:
        media: the form of a /generate answer whose rules hold for a request.
    """

    media: Media

    def begin(self, plan: GeneratePlan, count: int) -> bytes:
        """The first bytes of a shard of `count` samples; `plan` is of any of them."""
        ...

    def piece(self, plan: GeneratePlan, samples: Samples) -> bytes:
        """The bytes of the next samples, all those of `plan`."""
        ...

    def end(self) -> bytes:
        """The last bytes."""
        ...


class NpyWriter:
    """One array a shard."""

    media = _MEDIA["npy"]

    def begin(self, plan: GeneratePlan, count: int) -> bytes:
        """As `ShardWriter.begin`."""
        shape, dtype = plan.kind.row(raw_values=plan.job.want_sample)
        return npy_header((count, *shape), dtype)

    def piece(self, plan: GeneratePlan, samples: Samples) -> bytes:
        """As `ShardWriter.piece`."""
        return np.ascontiguousarray(rows_of(samples)).tobytes()

    def end(self) -> bytes:
        """As `ShardWriter.end`."""
        return b""


class TarWriter:
    """Two members a sample: what it is, and what is said of it.

    Args:
        telemetry: counts the scores of samples.
    """

    media = _MEDIA["zip"]

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def begin(self, plan: GeneratePlan, count: int) -> bytes:
        """As `ShardWriter.begin`."""
        return b""

    def piece(self, plan: GeneratePlan, samples: Samples) -> bytes:
        """As `ShardWriter.piece`."""
        rows = rows_of(samples)
        columns = columns_of(plan, slice(0, len(rows)), samples, self._telemetry)
        written: list[bytes] = []
        for row, values in zip(rows, zip(*columns.values(), strict=True), strict=True):
            said = dict(zip(columns, values, strict=True))
            name = f"{said['seed']:0{SEED_DIGITS}}"
            written += (
                *member(f"{name}.{plan.kind.suffix}", plan.kind.file(row)),
                *member(f"{name}.json", json.dumps(said).encode()),
            )
        return b"".join(written)

    def end(self) -> bytes:
        """As `ShardWriter.end`."""
        return END_OF_ARCHIVE


def member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """One file of a tar archive: header, content, padding.

    `tarfile` makes the same header in ten times as long, more than a small PNG takes.

    Args:
        name: at most 100 ASCII characters.
        content: below 8 GiB.
    """
    header = bytearray(_UNSUMMED)
    header[: len(name)] = name.encode("ascii")
    header[_SIZE] = b"%011o\0" % len(content)
    header[_CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header), content, bytes(-len(content) % BLOCK)
