"""The table of media types that an answer may have, and the choice among them by `?format=` or the `Accept` header.

A new media type needs a row here and an encoder (`encoders.py`); one that is read as well, an entry in `decoders.py`.

References:
    RFC 9110, HTTP Semantics: §12.4.2 (quality values), §12.5.1 (Accept).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from service.errors import NotAcceptable

MAX_QUOTED_CHARACTERS = 40  # of the caller's own words in a message
# Choices that are remembered: callers send few different headers.
KNOWN_CHOICES = 128

FormatName = Literal["json", "png", "jpeg", "webp", "npy", "zip"]
Suffix = Literal["png", "webp", "jpg", "npy"]


@dataclass(frozen=True, slots=True)
class Media:
    """One form of an answer.

    Attributes:
        name: what `?format=` calls it.
        media_type: what `Accept` and `Content-Type` call it.
        suffix: of a file that holds one sample in this form; None where a sample has no file of its own.
    """

    name: FormatName
    media_type: str
    suffix: Suffix | None = None


# In order of preference, for callers without one.
MEDIA: Final = (
    Media("json", "application/json"),
    Media("png", "image/png", "png"),
    Media("webp", "image/webp", "webp"),
    Media("jpeg", "image/jpeg", "jpg"),
    Media("npy", "application/x-npy", "npy"),
    Media("zip", "application/zip"),
)


def _known(among: Sequence[Media]) -> str:
    return ", ".join(f"{media.media_type} ({media.name})" for media in among)


def quality_of(parameters: list[str]) -> float | None:
    """The `q` among a range's parameters: 1 where there is none, None where it is not a number in [0, 1]."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            return quality if math.isfinite(quality) and 0 <= quality <= 1 else None
    return 1.0


def _ranges(accept: str) -> dict[str, float]:
    """Media range → quality; a range that is not well-formed is left out."""
    ranges: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = item.split(";")
        quality = quality_of(parameters)
        if quality is not None and name.strip():
            ranges[name.strip().lower()] = quality
    return ranges


@lru_cache(maxsize=KNOWN_CHOICES)
def choose(accept: str | None, fmt: str | None, among: tuple[Media, ...] = MEDIA) -> Media:
    """Choose the form of an answer.

    `fmt` wins. Else, of the types with the highest quality, one that the caller named wins over one that a wildcard
    matched, then the table's order decides.

    Args:
        accept: the `Accept` header; None or empty accepts everything.
        fmt: the `format` query parameter; None leaves the choice to `accept`.
        among: rows of `MEDIA` that this answer can take, in their order.

    Raises:
        NotAcceptable: none of them is accepted; the message lists them.
    """
    if fmt is not None:
        for media in among:
            if media.name == fmt:
                return media
        quoted = fmt[:MAX_QUOTED_CHARACTERS]
        raise NotAcceptable(f"There is no format {quoted!r} of these samples; there are: {_known(among)}.")
    ranges = _ranges(accept) if accept and accept.strip() else {"*/*": 1.0}

    def preference(media: Media) -> tuple[float, int]:
        """Quality by the most specific range that matches, then how specific that is."""
        family = media.media_type.split("/")[0]
        for specificity, media_range in ((2, media.media_type), (1, f"{family}/*"), (0, "*/*")):
            if media_range in ranges:
                return ranges[media_range], specificity
        return 0.0, 0

    best = max(among, key=preference)  # the first of equals
    if preference(best)[0] == 0:
        raise NotAcceptable(f"These samples come in none of the accepted media types; there are: {_known(among)}.")
    return best
