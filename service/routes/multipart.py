"""`multipart/form-data`, read from memory: the parts named `file`, and nothing else.

It stands alone because a form is a protocol of its own. Starlette's form reader would spool parts to disk and parse on
the event loop; here the body is complete and bounded already, so one pass over it does, on whatever thread.

References:
    Masinter, "Returning Values from Forms: multipart/form-data", RFC 7578, 2015.
"""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidRequest, MalformedRequest, Problem

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
