"""What is known of one request and its answer: id, headers, trace, status.

References:
    W3C, "Trace Context", 2021, section 3.2 (traceparent).
"""

import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from service.access.keys import Key
from service.errors import TryAgainError

# nginx's number for "the client closed the connection"; no answer carries it, only logs and metrics do.
CLIENT_CLOSED_REQUEST = 499
_KEY = "request_info"
# What a proxy or a client library makes of an id; anything else could forge log lines or headers.
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# Browsers take an answer for what its media type says, and never for a page or a script by the look of its bytes.
NOT_GUESSED = (b"x-content-type-options", b"nosniff")
# As many as a UUID has.
REQUEST_ID_BITS = 128
# Seeded by the system. Ids must differ, not be secret, and asking the system for each takes as long as the rest of it.
_ids = random.Random()  # noqa: S311


@dataclass(slots=True)
class RequestInfo:
    """One request and how its answer ended.

    Attributes:
        request_id: taken from the caller if sane, else made.
        headers: of the request, by name in lower case; the values of a name that comes more than once are one list, as
            RFC 9110 has it (§5.3).
        trace_id: of the W3C `traceparent`, where one came, or of the trace that began here.
        status: what the answer amounts to: the status sent, or why it was cut off after the first byte.
        started: whether the status is on its way.
        reason: why the request was refused, for the log; None where the caller is at fault.
        key: that it came with; None where it needs none.
        added_headers: that the answer has beside those of every answer.
        give_back: gives back what was counted against a quota, for a request that is refused and not computed.
    """

    request_id: str
    headers: Mapping[str, str]
    trace_id: str | None = None
    status: int = CLIENT_CLOSED_REQUEST
    started: bool = False
    reason: str | None = None
    key: Key | None = None
    added_headers: tuple[tuple[bytes, bytes], ...] = ()
    give_back: Callable[[], Awaitable[None]] | None = None

    def explain(self, error: Exception) -> None:
        """Note why a request is refused that may succeed later; what a caller did wrong is told to the caller alone."""
        if isinstance(error, TryAgainError):
            self.reason = str(error)

    @property
    def answer_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers of the answer, whatever it is."""
        return (b"x-request-id", self.request_id.encode()), NOT_GUESSED, *self.added_headers

    @property
    def names(self) -> dict[str, str]:
        """Fields of every log line of the request."""
        names = {"request_id": self.request_id}
        if self.trace_id is not None:
            names["trace_id"] = self.trace_id
        return names


def request_info(raw_headers: Iterable[tuple[bytes, bytes]]) -> RequestInfo:
    """Read a request's headers, [(name in lower case, value)] in the order they came."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    given = headers.get("x-request-id")
    parent = headers.get("traceparent")
    traced = None if parent is None else TRACEPARENT.fullmatch(parent)
    return RequestInfo(
        request_id=f"{_ids.getrandbits(REQUEST_ID_BITS):032x}"
        if given is None or not REQUEST_ID.fullmatch(given)
        else given,
        headers=headers,
        trace_id=traced[1] if traced else None,
    )


def attach(scope: Scope, info: RequestInfo) -> None:
    """Put it into the scope, where `info_of` finds it."""
    scope.setdefault("state", {})[_KEY] = info


def info_of(scope: Scope) -> RequestInfo:
    """Return what the middleware attached."""
    return cast("RequestInfo", scope["state"][_KEY])
