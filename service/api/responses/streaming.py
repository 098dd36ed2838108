"""Responses in pieces, and the forms that may be large, NPY and ZIP, in constant memory.

The length of an NPY file is known before its first sample is computed, so it is stated; that of a ZIP archive is not.
A ZIP keeps its directory and the columns of `index.json` to the end, about a hundred bytes a sample and as much a code.

Shapes: N samples.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from contextlib import aclosing

import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.context import Context, TimeBudget
from service.api.requests.generate import GeneratePlan
from service.api.responses.encoding import Columns, ResponseEncoder, columns_of, rows_of, slices_of
from service.engine.interface import Engine, GenerateJob, Samples
from service.engine.retry import submit
from service.media.archive import ZipStream
from service.media.encoders import npy_header

RawHeader = tuple[bytes, bytes]

# Copying so little costs less than handing it over in two.
JOINED_BYTES = 64 * 1024


class SampleFile(Response):
    """A response that is complete before its first byte.

    Args:
        headers: names in lower case; content type and length are added.

    Attributes:
        pieces: the body; small pieces are joined.
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
    """A response sent piece by piece; its status is sent with the first piece, not before.

    Args:
        pieces: the body; closed when the response ends, however it ends.
        headers: names in lower case; the content type is added.
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
    """Compute jobs in order, one of them ahead of the reader.

    Args:
        jobs: at least one.
        budget: for all of them together; time between them is not counted.
    """
    ahead = asyncio.ensure_future(_submit(engine, next(jobs), budget, retry=False))
    try:
        for job in jobs:
            samples = await ahead
            ahead = asyncio.ensure_future(_submit(engine, job, budget, retry=True))
            yield samples
        yield await ahead
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)  # its result is of no use once the stream is closed


async def _submit(engine: Engine, job: GenerateJob, budget: TimeBudget, *, retry: bool) -> Samples:
    with budget.spend() as left_s:

        def attempt() -> Awaitable[Samples]:
            job.timeout_s = left_s()
            return engine.submit(job)

        return await submit(attempt, retry=retry)


INDEX = "index.json"


def npy_file_header(plan: GeneratePlan) -> bytes:
    """The header of a plan's NPY file, [N, …]."""
    shape, dtype = plan.kind.row(raw_values=plan.job.want_sample)
    return npy_header((plan.count, *shape), dtype)


async def npy_pieces(
    header: bytes, plan: GeneratePlan, parts: Context, budget: TimeBudget
) -> AsyncGenerator[bytes | memoryview]:
    """The pieces of one NPY file; its header waits for the first chunk, which may still be refused with a status."""
    async with aclosing(draw(parts.engine, plan.chunks(), budget)) as chunks:
        async for samples in chunks:
            if header:
                yield header
                header = b""
            yield np.ascontiguousarray(rows_of(samples)).data.cast("B")


async def zip_pieces(
    plan: GeneratePlan, parts: Context, budget: TimeBudget, encoding: ResponseEncoder
) -> AsyncGenerator[bytes | memoryview]:
    """The pieces of one ZIP archive: a file per sample, and `index.json`."""
    archive = ZipStream()
    index: Columns = {"file": _entry_names(plan)}
    written = 0
    async with aclosing(draw(parts.engine, plan.chunks(), budget)) as chunks:
        async for samples in chunks:
            for place, part in slices_of(samples):
                whole = slice(written + place.start, written + place.stop)
                yield await encoding.run(_entries, archive, plan, index, whole, part, parts)
            written += len(rows_of(samples))
    yield await encoding.run(_end, archive, plan, index)
    encoding.done()


def _entries(
    archive: ZipStream, plan: GeneratePlan, index: Columns, place: slice, samples: Samples, parts: Context
) -> bytes:
    """Encode some samples as entries of the archive, and extend `index` by their columns."""
    for field, values in columns_of(plan, place, samples, parts.telemetry).items():
        index.setdefault(field, []).extend(values)
    files = zip(index["file"][place], rows_of(samples), strict=True)
    return b"".join(archive.entry(str(name), plan.kind.file(row)) for name, row in files)


def _end(archive: ZipStream, plan: GeneratePlan, index: Columns) -> bytes:
    described: dict[str, object] = {
        "model": plan.package.key.name,
        "version": str(plan.package.key.version),
        "package_sha256": plan.package.sha256,
    }
    if plan.sampler is not None:
        described["sampler"] = plan.sampler
    # A row at a time: one call for all rows would hold the interpreter lock for most of a second.
    rows = ", ".join(json.dumps(dict(zip(index, row, strict=True))) for row in zip(*index.values(), strict=True))
    text = json.dumps(described).removesuffix("}") + f', "samples": [{rows}]}}'
    return archive.entry(INDEX, text.encode()) + archive.end()


def _entry_names(plan: GeneratePlan) -> list[object]:
    """One file name per sample: its seed, numbered where the seed is repeated."""
    suffix = plan.kind.suffix
    if plan.job.seeds is None:
        digits = len(str(plan.count - 1))
        return [f"latent-{index:0{digits}}.{suffix}" for index in range(plan.count)]
    seen: Counter[int] = Counter()
    names: list[object] = []
    for seed in plan.job.seeds.tolist():
        seen[seed] += 1
        names.append(f"{seed}.{suffix}" if seen[seed] == 1 else f"{seed}-{seen[seed]}.{suffix}")
    return names
