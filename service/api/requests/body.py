"""Reads request bodies: JSON into a validated model, and the files of a form."""

import codecs
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidRequest, MalformedRequest, Problem, UnsupportedMediaType
from service.media.bounded_json import MAX_MEMBERS, read_bounded
from service.server.problems import JSON, json_error, validation_problems

FORM = "application/x-www-form-urlencoded"
# The byte order mark that Windows editors and PowerShell write; RFC 8259, §8.1, allows to ignore it.
UTF8_BOM = codecs.BOM_UTF8
# Bodies up to this size are validated and refused in well under a millisecond, however many mistakes they hold.
AT_ONCE_BYTES = 16 * 1024
FILE_PART = "file"
# A part has a name, a file name and perhaps a second form of it. The parser takes time quadratic in the parameters.
MAX_PARAMETERS = 16

M = TypeVar("M", bound=BaseModel)


def media_type_of(headers: Mapping[str, str]) -> str:
    """The body's media type in lower case, without parameters; JSON where none is stated.

    Raises:
        UnsupportedMediaType: the body is compressed.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaType("Compressed bodies are not read; send it without Content-Encoding.")
    return headers.get("content-type", JSON).partition(";")[0].strip().lower() or JSON


def read_json(schema: type[M], body: bytes, headers: Mapping[str, str]) -> M:
    """Read and validate a JSON body; an empty one has every field's default.

    Raises:
        MalformedRequest: it is not JSON.
        UnsupportedMediaType: its media type is not JSON.
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
    """Validate a JSON body, whatever its headers say.

    Raises:
        MalformedRequest: it is not JSON.
        BodyTooLarge: it holds more values than any request needs.
        InvalidRequest: it is not what `schema` describes.
    """
    body = body.removeprefix(UTF8_BOM)
    try:
        # Every field has a colon, so a body of few colons cannot name many unknown fields.
        if len(body) <= AT_ONCE_BYTES and body.count(b":") <= MAX_MEMBERS:
            return schema.model_validate_json(body)
        return schema.model_validate(read_bounded(body))
    except ValidationError as error:
        broken = json_error(error)
        if broken is not None:
            raise MalformedRequest(f"The body is not JSON: {broken}.") from error
        raise validation_problems(error, "body") from error


def read_files(body: bytes, content_type: str, max_files: int) -> list[bytes]:
    """Read the contents of every part named `file` of a form (RFC 7578), in order.

    Raises:
        MalformedRequest: the form cannot be read.
        InvalidRequest: a part has another name, there is none, or there are more than `max_files`.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedRequest("The Content-Type of a form must state its boundary.")
    form = _Form(max_files)
    try:
        MultipartParser(
            boundary,
            {
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_headers_finished": form.on_headers_finished,
                "on_part_data": form.on_part_data,
                "on_end": form.on_end,
            },
        ).write(body)
    except FormParserError as error:
        raise MalformedRequest("The form cannot be read; is its boundary the one in the Content-Type?") from error
    if not form.complete:
        raise MalformedRequest("The form ends before its closing boundary.")
    if not form.files:
        raise InvalidRequest(Problem(("body", FILE_PART), "The form has no part named `file`."))
    return [bytes(content) for content in form.files]


class _Form:
    """Collects the files of a form that is parsed in one piece, so that each header is one callback."""

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self._header = b""
        self._dispositions: list[bytes] = []
        self.files: list[bytearray] = []
        self.complete = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = data[start:end].lower()

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header == b"content-disposition":
            self._dispositions.append(data[start:end])

    def on_headers_finished(self) -> None:
        header, *others = self._dispositions or [b""]
        self._dispositions = []
        if others or header.count(b";") > MAX_PARAMETERS:
            words = f"A part of a form has one Content-Disposition, of at most {MAX_PARAMETERS} parameters."
            raise MalformedRequest(words)
        name = parse_options_header(header)[1].get(b"name", b"").decode(errors="replace")
        if name != FILE_PART:
            raise InvalidRequest(Problem(("body", name), "unknown part; the image parts must be named `file`"))
        if len(self.files) == self._max_files:
            raise InvalidRequest(Problem(("body", FILE_PART), f"at most {self._max_files} images in one request"))
        self.files.append(bytearray())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.files[-1] += data[start:end]

    def on_end(self) -> None:
        self.complete = True
