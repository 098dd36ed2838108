"""Which web pages of other origins may read answers: none, unless their origins are listed.

A browser sends a page's request to another origin, and gives the page the answer only if that names the page's origin.
Before a request that a form could not send it asks whether it may (a preflight). Credentials of the browser, cookies
and client certificates, are never let in: a page has a key, and sends it as a header.

References:
    WHATWG, Fetch Standard: "HTTP-network-or-cache fetch", "CORS protocol".
    RFC 9110, HTTP Semantics: §12.5.5 (Vary).
"""

from collections.abc import Mapping
from typing import Final

Header = tuple[bytes, bytes]

ANY: Final = "*"
METHODS: Final = b"GET, HEAD, POST"
# Of requests: what the service reads, and what clients of traces send.
ASKED: Final = (
    b"accept, authorization, content-type, content-encoding, if-none-match, inference-header-content-length, "
    b"traceparent, tracestate, x-api-key, x-request-id, x-timeout-ms"
)
# Of answers: what the service says beside the few headers that every page may read.
SAID: Final = (
    b"etag, inference-header-content-length, ratelimit, ratelimit-policy, retry-after, x-distances, "
    b"x-labels, x-model, x-model-version, x-package-sha256, x-precision, x-request-id, x-sampler, x-seeds"
)
# Longer than a visit, and shorter than it takes an operator to lose patience with a change.
KEPT_S: Final = b"600"
VARY: Final[Header] = (b"vary", b"origin")


class Origins:
    """The origins whose pages may read answers.

    Args:
        listed: separated by commas alone, as in `https://app.example`; `*` for all.
    """

    def __init__(self, listed: str) -> None:
        self._origins = frozenset(listed.split(","))
        self._all = ANY in self._origins

    def headers(self, origin: str | None) -> tuple[Header, ...]:
        """The headers of an answer to a page of this origin, or to what is no page.

        Caches are told that other origins get other headers, also where this answer has none.
        """
        if self._all:
            return (b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", SAID)
        if origin is None or origin not in self._origins:
            return (VARY,)
        return (b"access-control-allow-origin", origin.encode()), (b"access-control-expose-headers", SAID), VARY

    def preflight(self, method: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The headers of the answer to a browser that asks whether a page may send a request.

        Args:
            method: of the request that asks.
            headers: its, by name in lower case.

        Returns:
            None where it does not ask, or the page may not.
        """
        if method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        if not self._all and headers.get("origin") not in self._origins:
            return None
        allowed = {b"access-control-allow-methods": METHODS, b"access-control-allow-headers": ASKED}
        allowed[b"access-control-max-age"] = KEPT_S
        return {name.decode(): value.decode() for name, value in allowed.items()}
