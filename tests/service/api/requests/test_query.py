"""What a shortcut reads of a request, in the words that FastAPI would have used for it."""

from collections.abc import Callable

import pytest

from service.api.requests.query import read_query, read_timeout_ms
from service.api.schemas.requests import GenerateQuery
from service.errors import InvalidRequest


def places(read: Callable[[], object]) -> list[tuple[str | int, ...]]:
    with pytest.raises(InvalidRequest) as caught:
        read()
    return [problem.loc for problem in caught.value.problems]


def test_the_parameters_of_an_address_are_read() -> None:
    assert read_query(GenerateQuery, b"") == GenerateQuery()
    assert read_query(GenerateQuery, b"format=npy&dtype=float32") == GenerateQuery(format="npy", dtype="float32")
    assert read_query(GenerateQuery, b"format=%6Epy").format == "npy"


def test_the_last_of_a_parameter_that_comes_twice_counts() -> None:
    assert read_query(GenerateQuery, b"format=png&format=npy").format == "npy"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"format=bmp", [("query", "format")]),
        (b"format=", [("query", "format")]),
        (b"formt=npy", [("query", "formt")]),
        (b"format=bmp&size=3", [("query", "format"), ("query", "size")]),
    ],
)
def test_what_is_wrong_with_an_address_is_named(query: bytes, found: list[tuple[str, ...]]) -> None:
    assert places(lambda: read_query(GenerateQuery, query)) == found


def test_a_deadline_is_read_where_one_was_sent() -> None:
    assert read_timeout_ms({}) is None
    assert read_timeout_ms({"x-timeout-ms": "5000"}) == 5000


@pytest.mark.parametrize("sent", ["", "soon", "0", "-1", "1.5", "600001", "1e3", "9" * 5000])
def test_a_deadline_that_is_none_is_refused_with_its_place(sent: str) -> None:
    assert places(lambda: read_timeout_ms({"x-timeout-ms": sent})) == [("header", "x-timeout-ms")]
