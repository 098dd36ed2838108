"""One request and its answer, as the ASGI layers speak of it to each other.

The outermost layer makes an `RequestInfo` and puts it into the scope; layers further in read from it what every request
is asked (its id, its headers) and note how the answer ended. It stands alone because a layer must not know its
neighbours, only this note.

References:
    W3C, "Trace Context", 2021, section 3.2 (traceparent).
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

# nginx's number for "the client closed the connection"; no answer carries it, only logs and metrics do.
CLIENT_CLOSED_REQUEST = 499
_KEY = "exchange"
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
        trace_id: of the W3C `traceparent`, where one came.
        status: what the answer amounts to: the status sent, or why it was cut off after the first byte.
        started: whether the status is on its way.
    """

    request_id: str
    headers: Mapping[str, str]
    trace_id: str | None = None
    status: int = CLIENT_CLOSED_REQUEST
    started: bool = False

    @property
    def answer_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What each answer says beside what its route does."""
        return (b"x-request-id", self.request_id.encode()), NOT_GUESSED

    @property
    def names(self) -> dict[str, str]:
        """What each line of the log says of the request."""
        names = {"request_id": self.request_id}
        if self.trace_id is not None:
            names["trace_id"] = self.trace_id
        return names


def request_info(raw_headers: Iterable[tuple[bytes, bytes]]) -> RequestInfo:
    """Note a request that arrives.

    Args:
        raw_headers: its headers, names in lower case, in the order they came.
    """
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


def attach(scope: Scope, exchange: RequestInfo) -> None:
    """Put the note into the scope."""
    scope.setdefault("state", {})[_KEY] = exchange


def info_of(scope: Scope) -> RequestInfo:
    """Answer the note that the outermost layer attached."""
    return cast("RequestInfo", scope["state"][_KEY])
