"""The IDX format: an array of unsigned bytes behind a short header, as the MNIST family is published.

    2 bytes 0 · 1 byte type (8 = unsigned byte) · 1 byte number of axes · a big-endian uint32 for each axis · the values

Only the format; which files there are, and where, is the data set's business.
"""

import math

import numpy as np

from training.data.image_data import Bytes
from training.errors import DataError

UNSIGNED_BYTE = 8
MAGIC_SIZE = 4
AXIS_SIZE = 4


def parse(content: bytes, name: str) -> Bytes:
    """Read an IDX file of unsigned bytes.

    Args:
        content: the whole file, decompressed.
        name: of the file, for messages.

    Returns:
        A read-only array over `content`.

    Raises:
        DataError: if it is no such file, or its header does not account for its size.
    """
    if len(content) < MAGIC_SIZE or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise DataError(f"{name} is not an IDX file of unsigned bytes")
    axes = content[3]
    header_size = MAGIC_SIZE + AXIS_SIZE * axes
    if len(content) < header_size:
        raise DataError(f"{name} ends within its header")
    shape = [int.from_bytes(content[at : at + AXIS_SIZE], "big") for at in range(MAGIC_SIZE, header_size, AXIS_SIZE)]
    expected = header_size + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{name} has {len(content)} bytes where its header promises {expected}")
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)
