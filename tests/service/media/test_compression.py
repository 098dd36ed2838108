"""Compressed bodies: what was packed is unpacked, never beyond the limit, and a damaged one is refused."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType
from service.media.compression import CODINGS, Coding, accepted_coding, compress, decompress

LIMIT = 10_000


@given(content=st.binary(max_size=LIMIT), coding=st.sampled_from(CODINGS))
def test_what_is_packed_comes_out_as_it_was(content: bytes, coding: Coding) -> None:
    assert decompress(compress(content, coding), coding, LIMIT) == content


def test_other_peoples_packers_are_read() -> None:
    assert decompress(gzip.compress(b"samples"), "GZIP", LIMIT) == b"samples"
    assert decompress(zlib.compress(b"samples"), " deflate", LIMIT) == b"samples"


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_plain_body_is_left_as_it_is(encoding: str) -> None:
    assert decompress(b"samples", encoding, LIMIT) == b"samples"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_without_being_unpacked(coding: Coding) -> None:
    bomb = compress(bytes(100_000_000), coding)
    assert len(bomb) < 1_000_000
    assert len(decompress(compress(bytes(LIMIT), coding), coding, LIMIT)) == LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="at most 10000 bytes"):
            decompress(bomb, coding, LIMIT)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"x", lambda _: b"", lambda _: b"not packed"])
def test_a_damaged_body_is_refused(coding: Coding, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedRequest, match=coding):
        decompress(spoil(compress(b"samples", coding)), coding, LIMIT)


def test_a_packer_that_is_not_read_is_named_with_those_that_are() -> None:
    with pytest.raises(UnsupportedMediaType, match="gzip or deflate"):
        decompress(b"", "br", LIMIT)


def test_equal_answers_are_packed_to_equal_bytes() -> None:
    assert compress(b"samples", "gzip") == compress(b"samples", "gzip")
    assert compress(b"samples", "gzip")[4:8] == bytes(4)  # no time


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("GZIP ; Q=0.1", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=nan, deflate;q=x", None),
        ("br, zstd", None),
        ("*", None),
    ],
)
def test_an_answer_is_packed_as_its_caller_prefers(accepted: str, chosen: Coding | None) -> None:
    assert accepted_coding(accepted) == chosen
