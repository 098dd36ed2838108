"""Joins what one answer writes within a turn of the event loop: each write to a socket costs a call of the system.

uvicorn writes the head of an answer and its body one after the other, and asks of its transport little more than to
write bytes. Answers of one batch are made in one turn; a client that is woken by the first of them finds the others.
"""

import asyncio

# Copying so little costs less than a second call of the system.
JOINED_BYTES = 64 * 1024


class AnswerTransport:
    """What an answer writes to.

    Args:
        transport: the connection's.
        turn: of the process, for all its connections.
    """

    __slots__ = ("_begun_bytes", "_pieces", "_transport", "_turn", "is_closing")

    def __init__(self, transport: asyncio.Transport, turn: "WriteTurn") -> None:
        self._transport = transport
        self._turn = turn
        self._pieces: list[bytes] = []
        self._begun_bytes = 0
        self.is_closing = transport.is_closing

    def begin(self, beginning: bytes) -> None:
        """Write what the answer begins with, before it is known."""
        self._begun_bytes = len(beginning)
        self._transport.write(beginning)

    def write(self, data: bytes) -> None:
        """Write at the end of the turn, or at once where there is much."""
        if self._begun_bytes:
            data, self._begun_bytes = data[self._begun_bytes :], 0
        if not self._pieces:
            self._turn.add(self)
        self._pieces.append(data)
        if len(data) > JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        pieces = self._pieces
        if pieces and not self._transport.is_closing():
            if len(pieces) > 1 and len(pieces[-1]) > JOINED_BYTES:
                self._transport.writelines(pieces)
            else:
                self._transport.write(b"".join(pieces))
        pieces.clear()

    def close(self) -> None:
        """Close the connection when everything is written."""
        self.flush()
        self._transport.close()


class WriteTurn:
    """The answers that have written in this turn of the event loop."""

    def __init__(self) -> None:
        self._answers: list[AnswerTransport] = []

    def add(self, answer: AnswerTransport) -> None:
        """Flush an answer when the turn ends."""
        if not self._answers:
            asyncio.get_running_loop().call_soon(self.flush)
        self._answers.append(answer)

    def flush(self) -> None:
        """Flush all of them."""
        for answer in self._answers:
            answer.flush()
        self._answers.clear()
