"""Joins the head of an answer and the first bytes of its body: each write to a socket costs a call of the system.

uvicorn writes one after the other, and asks of its transport little more than to write bytes.
"""

import asyncio

INTERIM = b"HTTP/1.1 100 "
# Copying so little costs less than a second call of the system.
JOINED_BYTES = 64 * 1024


class AnswerTransport:
    """What one answer is written to.

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
