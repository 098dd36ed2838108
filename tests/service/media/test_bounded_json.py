"""Large JSON, a piece at a time: what the library reads, it reads as the library does; beyond its limits it stops."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BodyTooLarge, InvalidRequest, MalformedRequest
from service.media.bounded_json import MAX_DEPTH, MAX_MEMBERS, MAX_VALUES, read_bounded

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_what_is_json_is_read_as_the_library_reads_it(value: object, indent: int | None, escaped: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    assert read_bounded(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "[", "]", "{", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", '["a" "b"]', '["a",]', "[[],]",
        "[[] []]", '{"a"}', '{"a":}', '{"a":1,}', '{a:1}', '{"a":1 "b":2}', '{,}', "nul", "[nul]", "01", "[01]", "1.",
        "[.5]", "+1", "1 2", "[1]]", "{}{}", '"', '"a', '"\\"', '"\\x"', '["\\ud800"]', '"\n"', '"\x01"', "[1}",
        '{"a":1]',
        "[" + "1" * 100_000 + "]",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequest, match="not JSON"):
        read_bounded(text.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    for body in (b'"\xff"', b'"\xff\\n"', b"[\xff]", b"\xff"):
        with pytest.raises(MalformedRequest):
            read_bounded(body)


def test_a_run_of_numbers_longer_than_a_piece_is_read_whole() -> None:
    numbers = [number / 7 for number in range(40_000)]
    rows = [numbers[start : start + 128] for start in range(0, len(numbers), 128)]
    assert read_bounded(json.dumps(numbers).encode()) == numbers
    assert read_bounded(json.dumps(rows, indent=2).encode()) == rows


def test_a_long_string_of_escapes_is_read_whole() -> None:
    text = 'é"\\/' * 100_000
    assert read_bounded(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize("element", [b"0", b"[]", b"{}", b'""', b"null", b"[0]", b'{"a":0}', b'0,""'])
def test_more_values_than_the_limit_are_refused(element: bytes) -> None:
    with pytest.raises(BodyTooLarge):
        read_bounded(b"[" + b",".join([element] * (MAX_VALUES + 1)) + b"]")


def test_an_object_with_more_fields_than_the_limit_is_refused() -> None:
    fields = {f"f{number}": number for number in range(MAX_MEMBERS)}
    assert read_bounded(json.dumps([fields]).encode()) == [fields]
    with pytest.raises(InvalidRequest):
        read_bounded(json.dumps([fields | {"one": "more"}]).encode())
    with pytest.raises(InvalidRequest):
        read_bounded(b"{" + b",".join([b'"same":0'] * (MAX_MEMBERS + 1)) + b"}")


def test_lists_nested_deeper_than_the_limit_are_refused() -> None:
    assert read_bounded(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    with pytest.raises(MalformedRequest, match="nested"):
        read_bounded(b"[" * 1_000_000)
