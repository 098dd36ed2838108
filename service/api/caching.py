"""What a cache is told of a resource with an ETag, and what a conditional request says of it.

References:
    RFC 9110, HTTP Semantics: §8.8.3 (ETag), §13.1.2 (If-None-Match).
    RFC 8246, HTTP Immutable Responses (2017).
"""

from typing import Final

IMMUTABLE: Final = "public, max-age=31536000, immutable"  # a year, the longest that caches keep anything
# Where callers need keys: a shared cache would answer others with it (RFC 9111, section 3.5).
OWN_IMMUTABLE: Final = "private, max-age=31536000, immutable"
CHECK_AGAIN: Final = "no-cache"


def names(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header names an ETag, by the weak comparison that it asks for."""
    named = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return etag in named or named == ["*"]
