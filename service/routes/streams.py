"""Answers in pieces: those that begin before they are complete, the chunks of samples that feed them, and small ones.

A stream asks the engine for one chunk while the chunk before it is on its way to the client: two chunks of memory,
however long the stream. Its first chunk decides the status; it may be refused like any request. After the first byte a
full queue is waited out instead, since a stream that was accepted is not refused half-way; any other fault leaves the
answer incomplete, which closes the connection.

    jobs ──▶ draw (one ahead) ──▶ pieces of NPY or ZIP ──▶ SampleStream ──▶ client
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.engine.port import Engine, GenerateJob, Samples
from service.errors import QueueFull
from service.routes.deadlines import TimeBudget

# A full queue is tried again when the engine said room may come, but at least this often and not in a tight loop.
LONGEST_WAIT_S = 1.0
SHORTEST_WAIT_S = 0.01
RawHeader = tuple[bytes, bytes]

# Copying so little costs less than handing it over in two.
JOINED_BYTES = 64 * 1024


class SampleFile(Response):
    """An answer that is whole before its first byte, in pieces.

    Args:
        pieces: the body.
        media_type: of the body.
        headers: of the answer, names in lower case; its type and length are added.

    Attributes:
        pieces: as given; joined where that is little.
    """

    def __init__(self, pieces: Sequence[bytes | memoryview], media_type: str, headers: Sequence[RawHeader]) -> None:
        length = sum(map(len, pieces))
        self.pieces = (b"".join(pieces),) if length <= JOINED_BYTES else pieces
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(length).encode()),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *pieces, last = self.pieces
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})


class SampleStream(Response):
    """An answer sent piece by piece; its status goes out with the first piece, not before.

    Args:
        pieces: the body; closed when the answer ends, however it ends.
        media_type: of the body.
        headers: of the answer.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes | memoryview], media_type: str, headers: Sequence[RawHeader]
    ) -> None:
        self._pieces = pieces
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.raw_headers = [(b"content-type", media_type.encode()), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        async with aclosing(self._pieces) as pieces:
            started = False
            async for piece in pieces:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    started = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def draw(engine: Engine, jobs: Iterator[GenerateJob], budget: TimeBudget) -> AsyncGenerator[Samples]:
    """Answer jobs in order, one of them ahead of who asks.

    Args:
        engine: who computes.
        jobs: at least one.
        budget: what all of them together may take; time between them is not counted.
    """
    ahead = asyncio.ensure_future(_submit(engine, next(jobs), budget, patient=False))
    try:
        for job in jobs:
            samples = await ahead
            ahead = asyncio.ensure_future(_submit(engine, job, budget, patient=True))
            yield samples
        yield await ahead
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)  # whoever closed the stream does not ask how this one ended


async def _submit(engine: Engine, job: GenerateJob, budget: TimeBudget, *, patient: bool) -> Samples:
    with budget.spend() as left_s:
        while True:
            try:
                return await engine.submit(replace(job, timeout_s=left_s()))
            except QueueFull as full:
                if not patient:
                    raise
                wait_s = min(max(full.retry_after_s or 0, SHORTEST_WAIT_S), LONGEST_WAIT_S)
            await asyncio.sleep(wait_s)
