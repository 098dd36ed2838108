"""Calls between two processes of one service over one stream socket: both ways, any number at a time, arrays uncopied.

    here                                         there
    call ──CALL number, name, arguments──▶ handler ─▶ value or error
      ▲ └──CANCEL number─────────────────▶ task cancelled
      └────ANSWER number, value ◀──────────────┘

    frame: bytes of the head (u64), bytes of the frame (u64), head (marshal), padding, (array, padding) …

A call that is cancelled here is cancelled there, and so are the calls of a process that has ended; a call that waits
when the other process ends fails with `NotReady`. Handlers begin in the order of their calls.
"""

import asyncio
import itertools
import logging
import marshal
import math
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import numpy as np

from service.engine.model_spec import Array
from service.errors import GanymedeError, NotReady
from service.multiprocess.serialization import pack, pack_error, unpack, unpack_error

_PREFIX: Final = struct.Struct("=QQ")
# Enough for every element type; memory that Python or NumPy allocates has it, too.
_ALIGNMENT: Final = 16
# Up to here one copy is cheaper than a write of several pieces.
_COPIED_BYTES: Final = 16 * 1024
# For small messages, of which many arrive at once; a larger frame gets memory of its own.
_SHARED_BYTES: Final = 256 * 1024


def write_frame(message: object) -> list[bytes | memoryview]:
    """Write one message.

    Args:
        message: of the types that `pack` takes; its arrays must not change until the pieces are sent.

    Returns:
        The pieces of the frame, in order; none is empty.

    Raises:
        TypeError: a value in it has another type.
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


def read_frame(frame: memoryview) -> Any:  # noqa: ANN401  (any message)
    """Read one whole frame; arrays of the message lie in its memory and cannot be written to."""
    head_bytes, _ = _PREFIX.unpack_from(frame)
    end = _PREFIX.size + head_bytes
    plain, shapes = marshal.loads(frame[_PREFIX.size : end])  # noqa: S302  (only processes of this service connect)
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

    Small frames share a buffer and are copied out of it; a larger one gets a buffer of its own as soon as its size is
    known, and is read in place.
    """

    def __init__(self) -> None:
        self._shared = memoryview(bytearray(_SHARED_BYTES))
        self._memory = self._shared
        self._filled = 0

    def room(self) -> memoryview:
        """The buffer for the next bytes of the stream; never empty."""
        return self._memory[self._filled :]

    def filled(self, count: int) -> list[memoryview]:
        """Account for `count` bytes that were written to the beginning of `room`.

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
                self._memory = np.empty(size, np.uint8).data  # not zeroed: all of it is overwritten
            self._memory[: len(rest)] = rest
            self._filled = len(rest)
        return frames

    def _whole(self) -> list[memoryview]:
        """The large frame, if it is complete; what follows goes to the shared buffer again."""
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


Handler = Callable[..., Awaitable[object]]
# A service without its engine ends; a restart takes about this long.
RETRY_AFTER_S: Final = 2.0

_log = logging.getLogger(__name__)


# Kinds of messages.
_CALL, _ANSWER, _ERROR, _CANCEL = range(4)


class Channel(asyncio.BufferedProtocol):
    """One end of a connection; make it as the protocol of a stream socket.

    Args:
        handlers: what the other side may call, by name.
        opened: called when the connection is made.

    Attributes:
        lost: done when the connection is lost.
    """

    def __init__(self, handlers: Mapping[str, Handler], opened: Callable[["Channel"], None] | None = None) -> None:
        self._handlers = handlers
        self._opened = opened
        self._reader = FrameReader()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()

    async def call(
        self, name: str, *arguments: object, patience_s: float | None = None, late: GanymedeError | None = None
    ) -> Any:  # noqa: ANN401
        """Call a handler of the other side.

        Args:
            name: of the handler.
            arguments: for the handler.
            patience_s: time limit in seconds, kept on this side because the other may be hung; None for no limit.
            late: raised when the time is over; `NotReady` when left out.

        Returns:
            What the handler returned.

        Raises:
            NotReady: the other side has ended, or did not answer in time.
            GanymedeError: what the handler raised, or `late`.
        """
        if self._transport is None:
            raise _gone()
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        limit = (
            None if patience_s is None else self._loop.call_later(patience_s, self._give_up, number, late or _hung())
        )
        try:
            self._send(_CALL, number, name, arguments)
            return await future
        except asyncio.CancelledError:
            self._send(_CANCEL, number)
            raise
        finally:
            if limit is not None:
                limit.cancel()
            del self._waiting[number]
            if future.done() and not future.cancelled():
                future.exception()  # marks it as retrieved, also where the caller was cancelled at the same moment

    def close(self) -> None:
        """Close the connection after sending what is buffered."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]  # the loop gives a BufferedProtocol a stream transport
        if self._opened is not None:
            self._opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the loop a buffer to receive into."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle every message that is complete."""
        for frame in self._reader.filled(nbytes):
            kind, number, *rest = read_frame(frame)
            if kind == _CALL:
                self._serving[number] = self._loop.create_task(self._serve(number, *rest))
            elif kind == _CANCEL:
                if (task := self._serving.pop(number, None)) is not None:
                    task.cancel()
            else:
                self._settle(number, kind, *rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls that wait here, and cancel those of the other side."""
        self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_gone())
        for task in self._serving.values():
            task.cancel()
        self._serving.clear()
        self.lost.set_result(None)

    async def _serve(self, number: int, name: str, arguments: tuple[object, ...]) -> None:
        try:
            answer = await self._handlers[name](*arguments)
            self._send(_ANSWER, number, answer)
        except Exception as error:  # noqa: BLE001  (the caller waits for any error)
            if not isinstance(error, GanymedeError):
                _log.exception("a call from another process failed")
            self._send(_ERROR, number, *pack_error(error))
        finally:
            self._serving.pop(number, None)

    def _send(self, *message: object) -> None:
        if self._transport is not None:
            self._transport.writelines(write_frame(message))

    def _settle(self, number: int, kind: int, *rest: Any) -> None:  # noqa: ANN401
        future = self._waiting.get(number)
        if future is None or future.done():  # cancelled, or late
            return
        if kind == _ANSWER:
            future.set_result(rest[0])
        else:
            future.set_exception(unpack_error(*rest))

    def _give_up(self, number: int, late: GanymedeError) -> None:
        self._send(_CANCEL, number)
        future = self._waiting[number]
        if not future.done():
            future.set_exception(late)


def _hung() -> NotReady:
    return NotReady("the engine does not answer", RETRY_AFTER_S)


def _gone() -> NotReady:
    return NotReady("the service's engine has ended, and the service with it", RETRY_AFTER_S)
