"""Messages as bytes on a stream between two processes of one service.

    ┌ head bytes ┬ frame bytes ┬ head: marshal of the plain part ┬ array ┬ array ┬ …
    └── 8 bytes ─┴── 8 bytes ──┴── each part begins at a multiple of 16 ─────────

Arrays travel as the bytes they are: written from where they lie, read where they came to lie. The plain part is written
by `marshal`, five times as fast as JSON here, and sound for what it is: its documentation forbids it for bytes of
strangers and for other versions of Python, and these come from a process that this service started with its own
interpreter, over a socket that only its user can reach. What a caller sends is never among them but as numbers.

It knows messages as one value each (`remote_values.py`), and neither who speaks nor when.
"""

import marshal
import math
import struct
from typing import Any, Final

import numpy as np

from service.engine.remote_values import pack, unpack
from service.engine.runners import Array

_PREFIX: Final = struct.Struct("=QQ")
# Every element type is aligned on it, and so is memory that Python or NumPy allocates.
_ALIGNMENT: Final = 16
# What is copied sooner than handed on in pieces.
_COPIED_BYTES: Final = 16 * 1024
# Holds what arrives at once of a busy stream of small messages; larger ones get memory of their own.
_SHARED_BYTES: Final = 256 * 1024


def write_frame(message: object) -> list[bytes | memoryview]:
    """Write one message.

    Args:
        message: of what may cross; its arrays must not change until the pieces are sent.

    Returns:
        The pieces of its frame, in order; none is empty.

    Raises:
        TypeError: something in it does not cross.
    """
    arrays: list[Array] = []
    plain: Any = pack(message, arrays)
    head = marshal.dumps((plain, tuple((array.dtype.str, array.shape) for array in arrays)))
    size = _aligned(_PREFIX.size + len(head))
    pieces: list[bytes | memoryview] = [b"", head, bytes(size - _PREFIX.size - len(head))]
    for array in arrays:
        if array.dtype.hasobject:
            raise TypeError("an array of objects does not cross between processes")
        whole = array.tobytes() if array.nbytes <= _COPIED_BYTES else np.ravel(array).view(np.uint8).data
        pieces += whole, bytes(-array.nbytes % _ALIGNMENT)
        size += _aligned(array.nbytes)
    pieces[0] = _PREFIX.pack(len(head), size)
    # asyncio's own transport (Python 3.12 and later) never sees the end of a write whose last piece is empty.
    return [piece for piece in pieces if len(piece)] if size > _COPIED_BYTES else [b"".join(pieces)]


def read_frame(frame: memoryview) -> Any:  # noqa: ANN401  (whatever was written)
    """Read one whole frame; arrays of the message lie in its memory and cannot be written to."""
    head_bytes, _ = _PREFIX.unpack_from(frame)
    end = _PREFIX.size + head_bytes
    plain, shapes = marshal.loads(frame[_PREFIX.size : end])  # noqa: S302  (no stranger's bytes: see above)
    arrays: list[Array] = []
    read_only = frame.toreadonly()
    for dtype, shape in shapes:
        start = _aligned(end)
        array = np.frombuffer(read_only, dtype, math.prod(shape), start).reshape(shape)
        arrays.append(array)
        end = start + array.nbytes
    return unpack(plain, arrays)


class FrameReader:
    """Cuts a stream of bytes into frames.

    Small frames share one memory and are copied out of it; one that is larger gets memory of its own as soon as its
    size is known, and is read in place.
    """

    def __init__(self) -> None:
        self._shared = memoryview(bytearray(_SHARED_BYTES))
        self._memory = self._shared
        self._filled = 0

    def room(self) -> memoryview:
        """Where the next bytes of the stream belong; never empty."""
        return self._memory[self._filled :]

    def filled(self, count: int) -> list[memoryview]:
        """Take note of bytes that were written to `room`.

        Args:
            count: how many, from its beginning.

        Returns:
            The frames that are complete now, in order, each in memory that nothing else writes to.
        """
        self._filled += count
        if self._memory is not self._shared:
            return self._whole()
        frames: list[memoryview] = []
        start, size = 0, self._size_at(0)
        while size and start + size <= self._filled:
            frames.append(memoryview(bytes(self._shared[start : start + size])))
            start += size
            size = self._size_at(start)
        if start or size > _SHARED_BYTES:
            rest = bytes(self._shared[start : self._filled])
            if size > _SHARED_BYTES:
                self._memory = np.empty(size, np.uint8).data  # nothing needs its zeros
            self._memory[: len(rest)] = rest
            self._filled = len(rest)
        return frames

    def _whole(self) -> list[memoryview]:
        """The large frame, if it is complete; then what follows shares memory again."""
        if self._filled < self._memory.nbytes:
            return []
        frame = self._memory
        self._memory, self._filled = self._shared, 0
        return [frame]

    def _size_at(self, start: int) -> int:
        """Bytes of the frame that begins at `start`; 0 while that is unknown."""
        if self._filled - start < _PREFIX.size:
            return 0
        size: int = _PREFIX.unpack_from(self._shared, start)[1]
        return size


def _aligned(count: int) -> int:
    return count + -count % _ALIGNMENT
