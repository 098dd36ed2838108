"""A JSON reader for large bodies: it limits the number of values, and lets other threads run in between.

    bytes ─▶ lists and objects are parsed here ─▶ strings and runs of numbers by pydantic-core

An ordinary JSON reader makes up to a gigabyte of objects from 16 MiB, and holds the interpreter lock until it has. Here
values are counted while they are made, so that a body is refused before it costs more than a few times its own size,
and no piece takes longer than some milliseconds. Small bodies need none of this (`api/requests/body.py`).

References:
    Bray, "The JavaScript Object Notation (JSON) Data Interchange Format", RFC 8259, 2017, section 9 (limits).
"""

import re
from typing import Final

from pydantic_core import from_json

from service.errors import BodyTooLarge, InvalidRequest, MalformedRequest, Problem

# Room for 4,096 latents of 128 numbers, which count 557,056.
MAX_VALUES: Final = 3 * 2**18
# The largest objects of a request are the codes of a package, at most 128.
MAX_MEMBERS: Final = 256
# Tensors have at most eight axes, and lie three levels deep.
MAX_DEPTH: Final = 16
# What they count for: about how much longer they take to read than a number in a list. 50,000 class names, one for each
# sample of the longest answer, count 750,000.
_STRING: Final = 15
_CONTAINER: Final = 8
# Some 4,000 numbers, which are read in less than a millisecond.
_RUN_BYTES: Final = 64 * 1024

_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
# Numbers, `true`, `false` and `null`, with what separates them.
_RUN: Final = re.compile(rb'[^\[\]{}"]{1,%d}+' % _RUN_BYTES)
_WORD: Final = re.compile(rb'[^\[\]{}",: \t\n\r]{1,%d}+' % _RUN_BYTES)
# A string's inside, up to its end or to as many escapes as take some milliseconds.
_CHARACTERS: Final = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+){0,65536}+')


def read_bounded(body: bytes) -> object:
    """Read a JSON text, UTF-8, as `json.loads` would.

    Raises:
        MalformedRequest: it is not JSON, or nested deeper than `MAX_DEPTH`.
        BodyTooLarge: it holds more than `MAX_VALUES` values.
        InvalidRequest: an object has more than `MAX_MEMBERS` members.
    """
    reader = _Reader(body)
    value, end = reader.value(reader.skip(0), 0)
    if reader.skip(end) != len(body):
        raise reader.refusal("more follows", end)
    return value


class _Reader:
    """Reads one text; each method takes a position and returns a value with the position after it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._view = memoryview(body)
        self._left = MAX_VALUES

    def refusal(self, words: str, place: int) -> MalformedRequest:
        """The error for text that is not JSON, with the position."""
        return MalformedRequest(f"The body is not JSON: {words} at byte {place}.")

    def skip(self, place: int) -> int:
        """The position after white space."""
        found = _SPACE.match(self._body, place)
        return found.end() if found else place

    def value(self, place: int, depth: int) -> tuple[object, int]:
        """Read any value."""
        match self._body[place : place + 1]:
            case b'"':
                return self._string(place)
            case b"[":
                return self._list(place, depth + 1)
            case b"{":
                return self._object(place, depth + 1)
            case _:
                found = _WORD.match(self._body, place)
                if found is None:
                    raise self.refusal("a value is missing", place)
                self._count(1)
                return self._read(found[0], place), found.end()

    def _list(self, place: int, depth: int) -> tuple[list[object], int]:
        self._enter(place, depth)
        values: list[object] = []
        place = self.skip(place + 1)
        if self._body[place : place + 1] == b"]":
            return values, place + 1
        while True:
            end = self._run_end(place)
            if end > place:
                run = self._read(b"[%b]" % self._body[place:end], place)
                assert isinstance(run, list)  # noqa: S101  (for the type checker: brackets are around it)
                self._count(len(run))
                values += run
            else:
                value, end = self.value(place, depth)
                values.append(value)
            place = self.skip(end)
            match self._body[place : place + 1]:
                case b"]":
                    return values, place + 1
                case b",":
                    place = self.skip(place + 1)
                case _:
                    raise self.refusal("a comma or a bracket is missing", place)

    def _object(self, place: int, depth: int) -> tuple[dict[str, object], int]:
        self._enter(place, depth)
        members: dict[str, object] = {}
        count = 0
        place = self.skip(place + 1)
        if self._body[place : place + 1] == b"}":
            return members, place + 1
        while True:
            count += 1
            if count > MAX_MEMBERS:
                raise InvalidRequest(Problem(("body",), f"an object in it has more than {MAX_MEMBERS} fields"))
            if self._body[place : place + 1] != b'"':
                raise self.refusal("the name of a field is missing", place)
            name, place = self._string(place)
            place = self.skip(place)
            if self._body[place : place + 1] != b":":
                raise self.refusal("a colon is missing", place)
            members[name], place = self.value(self.skip(place + 1), depth)
            place = self.skip(place)
            match self._body[place : place + 1]:
                case b"}":
                    return members, place + 1
                case b",":
                    place = self.skip(place + 1)
                case _:
                    raise self.refusal("a comma or a brace is missing", place)

    def _string(self, place: int) -> tuple[str, int]:
        self._count(_STRING)
        start = end = place + 1
        while (found := _CHARACTERS.match(self._body, end)) is not None and found.end() > end:
            end = found.end()
        if self._body[end : end + 1] != b'"':
            raise self.refusal("a string that does not end, or holds a control character,", place)
        if self._body.find(b"\\", start, end) >= 0:
            text = self._read(self._body[place : end + 1], place)
            assert isinstance(text, str)  # noqa: S101  (for the type checker: quotes are around it)
            return text, end + 1
        try:
            return str(self._view[start:end], "utf-8"), end + 1
        except UnicodeDecodeError as error:
            raise self.refusal("a string that is not UTF-8", place) from error

    def _run_end(self, place: int) -> int:
        """Where a run of numbers and words ends; `place` itself where there is none."""
        found = _RUN.match(self._body, place)
        if found is None:
            return place
        end = found.end()
        if self._body[end : end + 1] == b"]":
            return end
        comma = self._body.rfind(b",", place, end)
        if comma < 0 and end - place == _RUN_BYTES:
            raise self.refusal(f"a number of more than {_RUN_BYTES} characters", place)
        return max(comma, place)

    def _read(self, piece: bytes, place: int) -> object:
        try:
            return from_json(piece, cache_strings=False)
        except ValueError as error:
            words = str(error).partition(" at line")[0]
            raise self.refusal(words, place) from error

    def _enter(self, place: int, depth: int) -> None:
        self._count(_CONTAINER)
        if depth > MAX_DEPTH:
            raise self.refusal(f"it is nested deeper than {MAX_DEPTH} levels", place)

    def _count(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise BodyTooLarge(
                f"a JSON body may hold at most {MAX_VALUES} values, where a string counts as {_STRING} and a list "
                f"or an object as {_CONTAINER}"
            )
