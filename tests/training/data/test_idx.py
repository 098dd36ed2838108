"""The IDX format: what is read, and what is refused with its size."""

import numpy as np
import pytest

from training.data import mnist
from training.errors import DataError

HEADER = bytes([0, 0, 8, 2]) + (2).to_bytes(4, "big") + (3).to_bytes(4, "big")


def test_an_array_is_read_row_by_row() -> None:
    assert np.array_equal(mnist.parse_idx(HEADER + bytes(range(6)), "file"), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER[:6],
        HEADER + bytes(5),
        HEADER + bytes(7),
        bytes([0, 0, 8, 200]) + bytes(8),
        bytes([0, 0, 8, 4]) + b"\xff" * 16,  # 2^128 bytes promised
    ],
    ids=["empty", "cut header", "one byte short", "one byte long", "200 axes", "overflowing axes"],
)
def test_a_file_whose_header_does_not_account_for_its_size_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^file "):
        mnist.parse_idx(content, "file")


def test_another_type_of_values_is_refused() -> None:
    with pytest.raises(DataError, match="not an IDX file of unsigned bytes"):
        mnist.parse_idx(bytes([0, 0, 13, 1]) + bytes(8), "file")
