"""`multipart/form-data`, read from memory: the parts named `file`, and nothing else.

It stands alone because a form is a protocol of its own. Starlette's form reader would spool parts to disk and parse on
the event loop; here the body is complete and bounded already, so one pass over it does, on whatever thread.

References:
    Masinter, "Returning Values from Forms: multipart/form-data", RFC 7578, 2015.
"""

import codecs
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidRequest, MalformedRequest, Problem, UnsupportedMediaType
from service.media.bounded_json import MAX_MEMBERS, read_bounded
from service.server.problems import JSON, json_error, validation_problems

FILE_PART = "file"
# A part has a name, a file name and perhaps the same in another alphabet. Reading a header takes as long as the square
# of its parameters: of those that fit a part's headers, milliseconds.
MAX_PARAMETERS = 16


def read_files(body: bytes, content_type: str, max_files: int) -> list[bytes]:
    """Read the contents of every part named `file`, in order.

    Args:
        body: the whole body.
        content_type: the request's header, which holds the boundary.
        max_files: most parts to read.

    Raises:
        MalformedRequest: the form cannot be read.
        InvalidRequest: a part has another name, there is none, or there are too many.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequest("The Content-Type of a form must state its boundary.")
    form = _Form(max_files)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_header_begin": form.begin_header,
                "on_header_field": form.header_name,
                "on_header_value": form.header_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_headers,
                "on_part_data": form.content,
                "on_end": form.end,
            },
        )
        parser.write(body)
    except FormParserError as error:
        raise MalformedRequest("The form cannot be read; is its boundary the one in the Content-Type?") from error
    if not form.complete:
        raise MalformedRequest("The form ends before its closing boundary.")
    if not form.files:
        raise InvalidRequest(Problem(("body", FILE_PART), "The form has no part named `file`."))
    return [bytes(content) for content in form.files]


class _Form:
    """Collects what the parser finds.

    Args:
        max_files: most parts to take.
    """

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self._name = bytearray()
        self._value = bytearray()
        self._part_name: str | None = None
        self.files: list[bytearray] = []
        self.complete = False

    def begin_part(self) -> None:
        self._part_name = None

    def begin_header(self) -> None:
        self._name.clear()
        self._value.clear()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            if self._part_name is not None or self._value.count(b";") > MAX_PARAMETERS:
                raise MalformedRequest(
                    f"A part of a form has one Content-Disposition, of at most {MAX_PARAMETERS} parameters."
                )
            _, options = parse_options_header(bytes(self._value))
            self._part_name = options.get(b"name", b"").decode(errors="replace")

    def end_headers(self) -> None:
        if self._part_name != FILE_PART:
            raise InvalidRequest(
                Problem(("body", self._part_name or ""), "unknown part; the image parts must be named `file`")
            )
        if len(self.files) == self._max_files:
            raise InvalidRequest(Problem(("body", FILE_PART), f"at most {self._max_files} images in one request"))
        self.files.append(bytearray())

    def content(self, data: bytes, start: int, end: int) -> None:
        self.files[-1] += data[start:end]

    def end(self) -> None:
        self.complete = True


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
