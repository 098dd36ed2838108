"""How the protocol's errors are documented: `{"error": "…"}`, whatever the status.

Their wording and their form are `service/routes/problems.py`'s, which tells this protocol's paths from others.
"""

from collections.abc import Mapping
from http import HTTPStatus

from service.routes.documentation import WORDS
from service.routes.v2.schemas import V2Error

PROTOCOL_WORDS: Mapping[int, str] = {
    **WORDS,
    HTTPStatus.BAD_REQUEST: "The request cannot be read, or does not fit the model; `error` says what to change.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is compressed in a way that is not read.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Describe the errors that a route may answer, each as the protocol words it."""
    return {status: {"model": V2Error, "description": PROTOCOL_WORDS[status]} for status in statuses}
