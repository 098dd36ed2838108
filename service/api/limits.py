"""Limits on the size of responses that are complete before their first byte: JSON, one image, a contact sheet."""

import math
from typing import Final

from service.api.sample_types import Images, Kind, Vectors
from service.errors import InvalidRequest, Problem
from service.media.decoders import Loc
from service.media.negotiation import Media
from service.settings import MEBIBYTE

# The largest signed 64-bit integer, which every database and every JSON library with integers can read.
MAX_SEED: Final = 2**63 - 1
# WebP's longest side; and as many pixels as an encoder writes within seconds, 4,096 samples of 64×64.
MAX_SHEET_SIDE: Final = 16_383
MAX_SHEET_PIXELS: Final = 4_096 * 64 * 64
# Of samples in one response; encoding it takes about four times as much memory.
MAX_WHOLE_BYTES: Final = 64 * MEBIBYTE
# In a JSON response; each takes some 50 bytes while it is encoded, 200 MB in all.
MAX_JSON_NUMBERS: Final = 4_000_000


def check_size(kind: Kind, count: int, sample_bytes: int, media: Media, loc: Loc, hint: str) -> None:
    """Refuse a response that would be too large.

    Args:
        kind: of the samples.
        sample_bytes: of one sample, as the engine returns it.
        loc: the field that asks for so many.
        hint: what the caller can do instead.

    Raises:
        InvalidRequest: the samples, the numbers in JSON or the contact sheet are over their limit.
    """
    if count * sample_bytes > MAX_WHOLE_BYTES:
        fitting = MAX_WHOLE_BYTES // sample_bytes
        words = f"at most {fitting} samples of this size fit one {media.media_type} answer"
        raise InvalidRequest(Problem(loc, f"{words}; {hint}"))
    if isinstance(kind, Vectors) and media.name == "json":
        check_numbers(count, kind.size, loc, hint)
    if not isinstance(kind, Images) or not media.media_type.startswith("image/"):
        return
    columns = math.isqrt(count - 1) + 1
    rows = -(-count // columns)
    sides = columns * kind.width, rows * kind.height
    if max(sides) > MAX_SHEET_SIDE or math.prod(sides) > MAX_SHEET_PIXELS:
        words = f"the contact sheet would have {sides[0]}×{sides[1]} pixels; at most {MAX_SHEET_PIXELS} are made"
        raise InvalidRequest(Problem(loc, f"{words}; {hint}"))


def check_numbers(count: int, numbers_each: int, loc: Loc, hint: str) -> None:
    """Refuse more than `MAX_JSON_NUMBERS` in one JSON response; `loc` and `hint` as in `check_size`.

    Args:
        count: of samples.
        numbers_each: of one sample.

    Raises:
        InvalidRequest: there would be more.
    """
    if count * numbers_each > MAX_JSON_NUMBERS:
        words = f"at most {MAX_JSON_NUMBERS // numbers_each} samples of this size fit one JSON answer"
        raise InvalidRequest(Problem(loc, f"{words}; {hint}"))
