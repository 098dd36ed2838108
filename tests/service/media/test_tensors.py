"""Tensors on the wire: both forms read back as they were written, and no number is converted in silence."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.errors import InvalidRequest, MalformedRequest
from service.media.tensors import (
    DTYPES,
    SLICE_NUMBERS,
    Array,
    read_blob,
    read_numbers,
    split_blobs,
    split_body,
    write_blob,
    write_numbers,
)

LOC = ("body", "inputs", 0)
SHAPES = npst.array_shapes(min_dims=1, max_dims=4, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[str, ...] = tuple(DTYPES)) -> tuple[str, Array]:
    datatype = draw(st.sampled_from(datatypes))
    elements = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None
    return datatype, draw(npst.arrays(DTYPES[datatype], SHAPES, elements=elements))


@given(tensor=tensors())
def test_bytes_read_back_as_they_were_written(tensor: tuple[str, Array]) -> None:
    datatype, array = tensor
    read = read_blob(memoryview(write_blob(array)), datatype, array.shape, LOC)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@given(tensor=tensors(datatypes=("FP32", "UINT8", "INT64")), nested=st.booleans())
def test_numbers_read_back_as_they_were_written_flat_or_nested(tensor: tuple[str, Array], nested: bool) -> None:
    datatype, array = tensor
    data = array.tolist() if nested else json.loads(write_numbers(array, "x"))
    read = read_numbers(data, datatype, array.shape, LOC)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_many_numbers_are_written_as_one_list() -> None:
    array = np.arange(2 * SLICE_NUMBERS + 1).reshape(-1, 1)
    assert json.loads(write_numbers(array, "x")) == array.ravel().tolist()


def test_bytes_are_little_endian_and_row_major_whatever_the_array_is() -> None:
    array = np.array([[1, 2], [3, 4]], ">i8").T
    assert write_blob(array) == np.array([1, 3, 2, 4], "<i8").tobytes()


@pytest.mark.parametrize(
    ("data", "datatype", "reason"),
    [
        ([1.5, 2], "INT64", "an integer"),
        ([True, 2], "INT64", "an integer"),
        ([True, 2], "FP32", "a number"),
        (["1", 2], "FP32", "a number"),
        ([None, 2], "FP32", "a number"),
        ([1, 2, 3], "FP32", "takes 2 numbers, not 3"),
        ([], "FP32", "takes 2 numbers, not 0"),
        ([[1], 2], "FP32", "side by side"),
        ([[[1]], [[2]]], "FP32", "a number"),
        ([-1, 2], "UINT8", "range of UINT8"),
        ([256, 2], "UINT8", "range of UINT8"),
        ([2**63, 2], "INT64", "range of INT64"),
        ([10**400, 2], "FP32", "range of FP32"),
        ([1e39, 2], "FP32", "range of FP32"),
        ([math.nan, 2], "FP32", "not finite"),
        ([1, 2], "FP16", "binary data"),
    ],
)
def test_what_is_no_element_of_the_datatype_is_refused(data: list[object], datatype: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read_numbers(data, datatype, (1, 2), LOC)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_say_is_refused_and_bytes_can(value: float) -> None:
    array = np.array([value], np.float32)
    with pytest.raises(InvalidRequest, match="`logit` holds numbers that are not finite"):
        write_numbers(array, "logit")
    np.testing.assert_array_equal(read_blob(memoryview(write_blob(array)), "FP32", (1,), LOC), array)


def test_more_or_fewer_bytes_than_the_shape_takes_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"FP32 \[1, 2\] takes 8 bytes, not 7"):
        read_blob(memoryview(bytes(7)), "FP32", (1, 2), LOC)


def test_a_body_is_parted_where_its_header_says() -> None:
    assert split_body(b"{}", None) == (b"{}", memoryview(b""))
    assert split_body(b"{}blob", "2") == (b"{}", memoryview(b"blob"))
    assert split_body(b"blob", "0") == (b"", memoryview(b"blob"))
    assert split_body(b"{}", " 2 ") == (b"{}", memoryview(b""))


@pytest.mark.parametrize("length", ["", "-1", "two", "1.0", "3", "٢", "2_0", "1" * 5000])
def test_a_header_that_is_no_place_in_the_body_is_refused(length: str) -> None:
    with pytest.raises(MalformedRequest, match="a number from 0 to 2"):
        split_body(b"{}", length)


@given(sizes=st.lists(st.integers(0, 20), max_size=6))
def test_blobs_are_parted_by_their_sizes(sizes: list[int]) -> None:
    blobs = [bytes([index]) * size for index, size in enumerate(sizes)]
    assert split_blobs(memoryview(b"".join(blobs)), sizes) == blobs


@pytest.mark.parametrize("sizes", [[], [3], [5], [2**63 - 1, 2**63 - 1]])
def test_blobs_that_are_more_or_less_than_stated_are_refused(sizes: list[int]) -> None:
    with pytest.raises(MalformedRequest, match="4 bytes follow the JSON"):
        split_blobs(memoryview(bytes(4)), sizes)
