"""One connection between two processes of one service: calls with answers, both ways, as many at a time as there are.

    here                                         there
    call ──CALL number, name, arguments──▶ handler ─▶ value or error
      ▲ └──CANCEL number─────────────────▶ task cancelled
      └────ANSWER number, value ◀──────────────┘

A call that is cancelled here is cancelled there, and so is every call whose caller's process has gone; a call that
waits when the other process goes fails as `NotReady`. Handlers begin in the order of their calls. It knows neither what
the calls mean nor which side it is on.
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


Handler = Callable[..., Awaitable[object]]
# A service whose other half has gone is on its way down; its successor takes about as long as a start.
RETRY_AFTER_S: Final = 2.0

_log = logging.getLogger(__name__)


# What a message is.
_CALL, _ANSWER, _ERROR, _CANCEL = range(4)


class Channel(asyncio.BufferedProtocol):
    """One end of a connection; make it as the protocol of a stream socket.

    Args:
        handlers: what the other side may call, by name.
        opened: told when the connection is there.

    Attributes:
        lost: done when the connection is gone.
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
        """Have the other side do something.

        Args:
            name: of its handler.
            arguments: for the handler.
            patience_s: when to give up on the other side; None never. It may be hung, so that it cannot be left to it.
            late: raised then; `NotReady` when left out.

        Returns:
            What the handler answered.

        Raises:
            NotReady: the other side has gone, or does not answer in time and nothing else was to be raised then.
            GanymedeError: what the handler raised.
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
                future.exception()  # taken notice of, also where the caller was cancelled at the same moment

    def close(self) -> None:
        """End the connection once what was sent is on its way."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # a stream's, by the loop's own promise
        if self._opened is not None:
            self._opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop writes what it received."""
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Act upon every message that is complete."""
        for frame in self._reader.filled(nbytes):
            word, number, *rest = read_frame(frame)
            if word == _CALL:
                self._serving[number] = self._loop.create_task(self._serve(number, *rest))
            elif word == _CANCEL:
                if (task := self._serving.pop(number, None)) is not None:
                    task.cancel()
            else:
                self._settle(number, word, *rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits here, and cancel what was done for the other side."""
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
        except Exception as error:  # noqa: BLE001  (whatever it is, the caller waits for it)
            if not isinstance(error, GanymedeError):
                _log.exception("a call from another process failed")
            self._send(_ERROR, number, *pack_error(error))
        finally:
            self._serving.pop(number, None)

    def _send(self, *message: object) -> None:
        if self._transport is not None:
            self._transport.writelines(write_frame(message))

    def _settle(self, number: int, word: int, *rest: Any) -> None:  # noqa: ANN401
        future = self._waiting.get(number)
        if future is None or future.done():  # nobody waits for it any more
            return
        if word == _ANSWER:
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
