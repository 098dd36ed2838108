"""Compressed bodies, both ways: gzip and deflate, unpacked at most one byte beyond a limit.

References:
    RFC 9110, HTTP Semantics: §8.4.1 (deflate is zlib's format), §12.5.3 (Accept-Encoding).
"""

import gzip
import zlib
from typing import Final, Literal

from service.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType
from service.media.negotiation import quality_of

Coding = Literal["gzip", "deflate"]
# In order of preference, for callers without one.
CODINGS: Final[tuple[Coding, ...]] = ("gzip", "deflate")
# zlib's window bits for a gzip member; the same bits without the 16 are zlib's own format.
_WINDOW_BITS: Final[dict[Coding, int]] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# Samples hardly compress: higher levels take several times as long and save next to nothing.
_LEVEL = 1


def decompress(content: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body.

    Args:
        content: the compressed body.
        encoding: its `Content-Encoding`; empty or `identity` means that it is not compressed.
        max_bytes: the largest result allowed.

    Raises:
        UnsupportedMediaType: the encoding is not one of `CODINGS`.
        MalformedRequest: it is cut short or damaged, or something follows it.
        BodyTooLarge: the result would be larger.
    """
    coding = _coding(encoding)
    if coding is None:
        return content
    unpacker = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        unpacked = unpacker.decompress(content, max_bytes + 1)
    except zlib.error as error:
        raise MalformedRequest(f"The body is not {coding}, or damaged.") from error
    if len(unpacked) > max_bytes:
        raise BodyTooLarge(f"A body may unpack to at most {max_bytes} bytes.")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedRequest(f"The body is more or less than one {coding} stream.")
    return unpacked


def compress(content: bytes, coding: Coding) -> bytes:
    """Compress a body, fast rather than small."""
    if coding == "gzip":
        return gzip.compress(content, _LEVEL, mtime=0)  # without the time, equal answers have equal bytes
    return zlib.compress(content, _LEVEL)


def accepted_coding(accept_encoding: str) -> Coding | None:
    """The coding of `CODINGS` that an `Accept-Encoding` header prefers; None for the plain body, also for `*`."""
    qualities: dict[str, float] = {}
    for item in accept_encoding.split(","):
        name, *parameters = item.split(";")
        qualities[name.strip().lower()] = quality_of(parameters) or 0.0
    best = max(CODINGS, key=lambda coding: qualities.get(coding, 0.0))  # the first of equals
    return best if qualities.get(best, 0.0) > 0 else None


def _coding(encoding: str) -> Coding | None:
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    for coding in CODINGS:
        if name == coding:
            return coding
    raise UnsupportedMediaType(f"Compressed bodies are read as {' or '.join(CODINGS)}.")
