"""Tensors on the wire, as the Open Inference Protocol and its binary-data extension frame them.

    body = JSON │ blob of the first binary tensor │ blob of the second │ …
           ◀──▶ Inference-Header-Content-Length, in bytes

A tensor is in the JSON as `data`, flat or nested, row-major; or its JSON states `binary_data_size` and its bytes
follow, little-endian and without padding. Numbers are never converted: no bool is an integer, no 300 a UINT8, no 1e39
an FP32.

References:
    Open Inference Protocol, Required API, "Tensor Data"; Triton Inference Server, "Binary Tensor Data Extension".
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from service.errors import InvalidRequest, MalformedRequest, Problem

Array = NDArray[np.generic]
Loc = tuple[str | int, ...]

DTYPES: Final[Mapping[str, np.dtype[np.generic]]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "UINT8": np.dtype("u1"),
    "INT64": np.dtype("<i8"),
}
# The protocol has no JSON form for FP16.
JSON_DATATYPES: Final = frozenset({"FP32", "UINT8", "INT64"})
# Written in about a millisecond, during which no other thread can run.
SLICE_NUMBERS: Final = 4_096
_INTEGERS = frozenset({int})
_NUMBERS = frozenset({int, float})


def split_body(body: bytes, json_length: str | None) -> tuple[bytes, memoryview]:
    """Split a request's JSON, empty for a raw request, from the blobs after it.

    Args:
        body: decompressed.
        json_length: the header `Inference-Header-Content-Length`; None where the whole body is JSON.

    Raises:
        MalformedRequest: the header is no number, or beyond the body.
    """
    if json_length is None:
        return body, memoryview(b"")
    digits = json_length.strip()
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(len(body)))
    end = int(digits) if is_number else -1
    if not 0 <= end <= len(body):
        raise MalformedRequest(f"Inference-Header-Content-Length must be a number from 0 to {len(body)}.")
    return body[:end], memoryview(body)[end:]


def split_blobs(blobs: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Split the blobs of one body.

    Args:
        blobs: all of them, one after the other.
        sizes: what each tensor states, in bytes.

    Raises:
        MalformedRequest: there are more or fewer bytes than stated.
    """
    stated = sum(sizes)
    if stated != len(blobs):
        raise MalformedRequest(f"{len(blobs)} bytes follow the JSON, but its `binary_data_size` add up to {stated}.")
    return [blobs[start:end] for start, end in pairwise(accumulate(sizes, initial=0))]


def read_blob(blob: memoryview, datatype: str, shape: Sequence[int], loc: Loc) -> Array:
    """Read a tensor's bytes.

    Args:
        blob: exactly its bytes.
        datatype: one of `DTYPES`.
        shape: its sizes, none negative.
        loc: where the tensor stands in the request.

    Returns:
        [*shape], read-only, of the datatype.

    Raises:
        InvalidRequest: it has more or fewer bytes than its shape and datatype take.
    """
    dtype = DTYPES[datatype]
    needed = math.prod(shape) * dtype.itemsize
    if len(blob) != needed:
        raise _refusal(loc, f"{datatype} {list(shape)} takes {needed} bytes, not {len(blob)}")
    return np.frombuffer(blob, dtype).reshape(shape)


def read_numbers(data: Sequence[object], datatype: str, shape: Sequence[int], loc: Loc) -> Array:
    """Read a tensor's JSON.

    Args:
        data: its numbers, flat or nested, row-major.
        datatype: one of `DTYPES`.
        shape: its sizes, none negative.
        loc: where the tensor stands in the request.

    Returns:
        [*shape], of the datatype.

    Raises:
        InvalidRequest: there are more or fewer numbers than the shape takes, one does not fit the datatype, or the
            datatype has no JSON form.
    """
    if datatype not in JSON_DATATYPES:
        raise _refusal(loc, f"{datatype} has no JSON form; send it as binary data")
    dtype = DTYPES[datatype]
    numbers = _flat(data, len(shape), loc)
    if len(numbers) != math.prod(shape):
        raise _refusal(loc, f"the shape {list(shape)} takes {math.prod(shape)} numbers, not {len(numbers)}")
    if not set(map(type, numbers)) <= (_NUMBERS if dtype.kind == "f" else _INTEGERS):
        raise _refusal(loc, f"every element must be {'a number' if dtype.kind == 'f' else 'an integer'}")
    try:
        with np.errstate(over="ignore"):  # what overflows is found below
            array = np.array(numbers, dtype)
    except OverflowError as error:
        raise _refusal(loc, f"an element is beyond the range of {datatype}") from error
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _refusal(loc, f"an element is not finite, or beyond the range of {datatype}")
    return array.reshape(shape)


def write_numbers(array: Array, name: str) -> bytes:
    """Write a tensor as JSON: one list, flat, row-major, of numbers that read back as they were.

    Args:
        array: of any shape; FP32, UINT8 or INT64.
        name: of the tensor, for the message.

    Raises:
        InvalidRequest: it holds NaN or infinity, which JSON cannot express.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        words = f"`{name}` holds numbers that are not finite, which JSON cannot say; ask for it as binary data"
        raise _refusal(("outputs",), words)
    flat = array.ravel()
    slices = (flat[start : start + SLICE_NUMBERS] for start in range(0, flat.size, SLICE_NUMBERS))
    return b"[" + b",".join(to_json(numbers.tolist())[1:-1] for numbers in slices) + b"]"


def write_blob(array: Array) -> bytes:
    """Write a tensor's bytes: little-endian, row-major."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _flat(data: Sequence[object], axes: int, loc: Loc) -> list[object]:
    """Flatten lists that are nested at most as deep as the tensor has axes."""
    numbers = list(data)
    for _ in range(axes - 1):
        if not (numbers and type(numbers[0]) is list):
            return numbers
        rows = [row for row in numbers if isinstance(row, list)]
        if len(rows) < len(numbers):
            raise _refusal(loc, "lists and numbers must not stand side by side")
        numbers = list(chain.from_iterable(rows))
    return numbers


def _refusal(loc: Loc, message: str) -> InvalidRequest:
    return InvalidRequest(Problem(loc, message))
