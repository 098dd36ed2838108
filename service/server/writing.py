"""The writing side of a connection: heads go out with their bodies, and a client that takes nothing is cut off."""

import asyncio

import structlog

INTERIM = b"HTTP/1.1 100 "
# Copying so little costs less than a second call of the system.
JOINED_BYTES = 64 * 1024


logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AnswerTransport:
    """What one answer is written to: joins its head and the first bytes of its body, which saves a call of the system.

    uvicorn writes one after the other, and asks of its transport little more than to write bytes.

    Args:
        transport: the connection's.
    """

    __slots__ = ("_begun_bytes", "_head", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begun_bytes = 0
        self.is_closing = transport.is_closing

    def begin(self, beginning: bytes) -> None:
        """Write what the answer begins with, before the rest is known."""
        self._begun_bytes = len(beginning)
        self._transport.write(beginning)

    def write(self, data: bytes) -> None:
        """Keep the head for the first bytes of the body; write everything else."""
        if self._head is None and not data.startswith(INTERIM):
            self._head = data[self._begun_bytes :]
        elif not self._head:
            self._transport.write(data)
        else:
            head, self._head = self._head, b""
            if len(data) <= JOINED_BYTES:
                self._transport.write(head + data)
            else:
                self._transport.writelines((head, data))

    def flush(self) -> None:
        """Write the head of an answer that has no body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Close the connection when everything is written."""
        self.flush()
        self._transport.close()


class StalledWrite:
    """Ends a connection whose client takes nothing of what was written for so long.

    Args:
        transport: the connection's.
        timeout_s: how long.
    """

    def __init__(self, transport: asyncio.Transport, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._due: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin to wait for the client to take what is written."""
        left_bytes = self._transport.get_write_buffer_size()
        self._due = asyncio.get_running_loop().call_later(self._timeout_s, self._check, left_bytes)

    def stop(self) -> None:
        """Stop waiting."""
        if self._due is not None:
            self._due.cancel()

    def _check(self, left_before_bytes: int) -> None:
        left_bytes = self._transport.get_write_buffer_size()
        if left_bytes < left_before_bytes:
            self.watch()
            return
        logger.warning("answer not taken", left_bytes=left_bytes, after_s=self._timeout_s)
        self._transport.abort()
