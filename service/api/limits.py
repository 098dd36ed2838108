"""How large an answer may be that must be whole before its first byte: JSON, one image, a contact sheet.

What is streamed has no such limit. It stands alone because every route that answers samples has it.
"""

import math
from typing import Final

from service.api.sample_types import Images, Kind, Vectors
from service.errors import InvalidRequest, Problem
from service.media.decoders import Loc
from service.media.negotiation import Media
from service.settings import MEBIBYTE

# The largest number that a signed 64-bit integer holds, which every JSON library of integers and every database reads.
MAX_SEED: Final = 2**63 - 1
# WebP's longest side; and as many pixels as an encoder writes within seconds, 4,096 samples of 64×64.
MAX_SHEET_SIDE: Final = 16_383
MAX_SHEET_PIXELS: Final = 4_096 * 64 * 64
# Samples of an answer that must be whole before its first byte; writing it takes about four times as much memory.
MAX_WHOLE_BYTES: Final = 64 * MEBIBYTE
# Numbers of a JSON answer; each takes some 50 bytes while it is written, which makes 200 MB.
MAX_JSON_NUMBERS: Final = 4_000_000


def check_size(kind: Kind, count: int, sample_bytes: int, media: Media, loc: Loc, hint: str) -> None:
    """Refuse what would be too large to be made whole.

    Args:
        kind: of the samples.
        count: how many.
        sample_bytes: of one, as the engine answers it.
        media: the form of the answer.
        loc: the field that asks for so many.
        hint: what the caller may do instead.

    Raises:
        InvalidRequest: it would be.
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
    """Refuse more numbers than one JSON answer holds.

    Args:
        count: how many samples.
        numbers_each: of one sample.
        loc: the field that asks for so many.
        hint: what the caller may do instead.

    Raises:
        InvalidRequest: there would be more.
    """
    if count * numbers_each > MAX_JSON_NUMBERS:
        words = f"at most {MAX_JSON_NUMBERS // numbers_each} samples of this size fit one JSON answer"
        raise InvalidRequest(Problem(loc, f"{words}; {hint}"))
