"""One request and its answer, as the ASGI layers speak of it to each other.

The outermost layer makes an `Exchange` and puts it into the scope; layers further in read from it what every request
is asked (its id, its headers) and note how the answer ended. It stands alone because a layer must not know its
neighbours, only this note.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

# nginx's number for "the client closed the connection"; no answer carries it, only logs and metrics do.
CLIENT_CLOSED_REQUEST = 499
_KEY = "exchange"


@dataclass(slots=True)
class Exchange:
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
    def names(self) -> dict[str, str]:
        """What each line of the log says of the request."""
        names = {"request_id": self.request_id}
        if self.trace_id is not None:
            names["trace_id"] = self.trace_id
        return names


def attach(scope: Scope, exchange: Exchange) -> None:
    """Put the note into the scope."""
    scope.setdefault("state", {})[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """Answer the note that the outermost layer attached."""
    return cast("Exchange", scope["state"][_KEY])
