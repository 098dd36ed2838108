"""The query and the deadline of a request on the express way, read as FastAPI would have read them.

It stands apart from the way (`express.py`) because that knows no types, and from the endpoints because all of them read
the same.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from service.api.context import MAX_TIMEOUT_MS
from service.server.entry import check_query
from service.server.problems import validation_problems

Q = TypeVar("Q", bound=BaseModel)

# Callers ask with few different queries, such as `format=npy`; whoever asks with ever new ones only pays for them.
KNOWN_QUERIES = 64
_TIMEOUT_MS = TypeAdapter(Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)])


def read_timeout_ms(headers: Mapping[str, str]) -> int | None:
    """Read `X-Timeout-Ms`; None where it was not sent.

    Raises:
        InvalidRequest: it is no number of milliseconds, or none that is granted.
    """
    sent = headers.get("x-timeout-ms")
    if sent is None:
        return None
    try:
        return _TIMEOUT_MS.validate_python(sent)
    except ValidationError as error:
        raise validation_problems(error, "header", "x-timeout-ms") from error


@lru_cache(maxsize=KNOWN_QUERIES)
def read_query(schema: type[Q], query: bytes) -> Q:
    """Read the parameters of an address; of one that comes more than once the last counts.

    Args:
        schema: what they must be.
        query: as it was sent.

    Returns:
        One object for equal queries: do not write to it.

    Raises:
        InvalidRequest: they are something else, or too many.
    """
    check_query(query)
    try:
        return schema.model_validate(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))
    except ValidationError as error:
        raise validation_problems(error, "query") from error
