"""Bodies as their callers wrote them: media type, JSON, and the words for what cannot be read.

Pure functions of bytes and headers, so that a route may run them on a thread. A body that cannot be read at all is
malformed (400), one of another type is 415, one that reads but does not hold is invalid (422).
"""

import codecs
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.errors import MalformedRequest, UnsupportedMediaType
from service.media.bounded_json import MAX_MEMBERS, read_bounded
from service.routes.problems import json_error, validation_problems

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# What Windows editors and PowerShell put before a text; RFC 8259 (§8.1) allows to skip it.
UTF8_BOM = codecs.BOM_UTF8
# What is read and refused in well under a millisecond, and cannot hold more than that many mistakes.
AT_ONCE_BYTES = 16 * 1024

M = TypeVar("M", bound=BaseModel)


def media_type_of(headers: Mapping[str, str]) -> str:
    """Answer the body's media type in lower case, without parameters; JSON where none is stated.

    Raises:
        UnsupportedMediaType: the body is compressed.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaType("Compressed bodies are not read; send it without Content-Encoding.")
    return headers.get("content-type", JSON).partition(";")[0].strip().lower() or JSON


def read_json(schema: type[M], body: bytes, headers: Mapping[str, str]) -> M:
    """Read and validate a JSON body; an empty one has every field's default.

    Args:
        schema: what the body must be.
        body: its bytes.
        headers: the request's.

    Raises:
        MalformedRequest: it is not JSON.
        UnsupportedMediaType: it says it is not JSON.
        InvalidRequest: it is not what `schema` describes.
    """
    media_type = media_type_of(headers)
    if not body:
        body = b"{}"
    elif media_type == FORM:
        raise UnsupportedMediaType(
            f"The body must be {JSON}; it came as {FORM}, curl's default: add -H 'content-type: {JSON}'."
        )
    elif media_type != JSON and not media_type.endswith("+json"):
        raise UnsupportedMediaType(f"The body must be {JSON}.")
    return validate_json(schema, body)


def validate_json(schema: type[M], body: bytes) -> M:
    """Validate a body that is JSON, whatever its headers say.

    Raises:
        MalformedRequest: it is not JSON.
        BodyTooLarge: it holds more values than any request needs.
        InvalidRequest: it is not what `schema` describes.
    """
    body = body.removeprefix(UTF8_BOM)
    try:
        # Every field has a colon, so what is read at once can have no more unknown ones than are told in a moment.
        if len(body) <= AT_ONCE_BYTES and body.count(b":") <= MAX_MEMBERS:
            return schema.model_validate_json(body)
        return schema.model_validate(read_bounded(body))
    except ValidationError as error:
        broken = json_error(error)
        if broken is not None:
            raise MalformedRequest(f"The body is not JSON: {broken}.") from error
        raise validation_problems(error, "body") from error
