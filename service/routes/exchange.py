"""One request and its answer, as the ASGI layers speak of it to each other.

The outermost layer makes an `Exchange` and puts it into the scope; layers further in read the request id from it and
note how the answer ended. It stands alone because a layer must not know its neighbours, only this note.
"""

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
        trace_id: of the W3C `traceparent`, where one came.
        status: what the answer amounts to: the status sent, or why it was cut off after the first byte.
    """

    request_id: str
    trace_id: str | None = None
    status: int = CLIENT_CLOSED_REQUEST


def attach(scope: Scope, exchange: Exchange) -> None:
    """Put the note into the scope."""
    scope.setdefault("state", {})[_KEY] = exchange


def exchange_of(scope: Scope) -> Exchange:
    """Answer the note that the outermost layer attached."""
    return cast("Exchange", scope["state"][_KEY])
