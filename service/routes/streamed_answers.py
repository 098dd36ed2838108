"""The forms that may be large, NPY and ZIP, as pieces in constant memory.

An NPY file's length is known before its first sample is computed, so it is stated. A ZIP's is not; what it keeps to
the end is its directory and the columns of `index.json`, about a hundred bytes a sample and as much for each code.

Shapes: N samples.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from service.engine.port import Samples
from service.media.archive import ZipStream
from service.media.encoders import npy_header
from service.routes.columns import Columns, columns_of
from service.routes.context import Context
from service.routes.deadlines import TimeBudget
from service.routes.drawing import Drawing
from service.routes.encoding import Encoding, rows_of, slices_of
from service.routes.streams import draw

INDEX = "index.json"


def npy_file_header(drawing: Drawing) -> bytes:
    """Write the head of the NPY file that holds a drawing, [N, …]."""
    shape, dtype = drawing.kind.row(as_made=drawing.as_made)
    return npy_header((drawing.count, *shape), dtype)


async def npy_pieces(
    header: bytes, drawing: Drawing, parts: Context, budget: TimeBudget
) -> AsyncGenerator[bytes | memoryview]:
    """Write one NPY file; the header waits for the first chunk, which may still be refused with a status."""
    async with aclosing(draw(parts.engine, drawing.jobs(drawing.chunk_samples), budget)) as chunks:
        async for samples in chunks:
            if header:
                yield header
                header = b""
            yield np.ascontiguousarray(rows_of(samples)).data.cast("B")


async def zip_pieces(
    drawing: Drawing, parts: Context, budget: TimeBudget, encoding: Encoding
) -> AsyncGenerator[bytes | memoryview]:
    """Write one ZIP archive: a file a sample, and `index.json`."""
    archive = ZipStream()
    index: Columns = {"file": _entry_names(drawing)}
    written = 0
    async with aclosing(draw(parts.engine, drawing.jobs(drawing.chunk_samples), budget)) as chunks:
        async for samples in chunks:
            for place, part in slices_of(samples):
                whole = slice(written + place.start, written + place.stop)
                yield await encoding.run(_entries, archive, drawing, index, whole, part, parts)
            written += len(rows_of(samples))
    yield await encoding.run(_end, archive, drawing, index)
    encoding.done()


def _entries(
    archive: ZipStream, drawing: Drawing, index: Columns, place: slice, samples: Samples, parts: Context
) -> bytes:
    """Write some samples, and note in `index` what is said of them."""
    for field, values in columns_of(drawing, place, samples, parts).items():
        index.setdefault(field, []).extend(values)
    files = zip(index["file"][place], rows_of(samples), strict=True)
    return b"".join(archive.entry(str(name), drawing.kind.file(row)) for name, row in files)


def _end(archive: ZipStream, drawing: Drawing, index: Columns) -> bytes:
    described: dict[str, object] = {
        "model": drawing.package.key.name,
        "version": str(drawing.package.key.version),
        "package_sha256": drawing.package.sha256,
    }
    if drawing.sampler is not None:
        described["sampler"] = drawing.sampler
    # A row at a time: one call for all of them would hold the interpreter, and everybody else, for most of a second.
    rows = ", ".join(json.dumps(dict(zip(index, row, strict=True))) for row in zip(*index.values(), strict=True))
    text = json.dumps(described).removesuffix("}") + f', "samples": [{rows}]}}'
    return archive.entry(INDEX, text.encode()) + archive.end()


def _entry_names(drawing: Drawing) -> list[object]:
    """One file name a sample: its seed, and which time the seed comes where it comes again."""
    suffix = drawing.kind.suffix
    if drawing.seeds is None:
        digits = len(str(drawing.count - 1))
        return [f"latent-{index:0{digits}}.{suffix}" for index in range(drawing.count)]
    seen: Counter[int] = Counter()
    names: list[object] = []
    for seed in drawing.seeds.tolist():
        seen[seed] += 1
        names.append(f"{seed}.{suffix}" if seen[seed] == 1 else f"{seed}-{seen[seed]}.{suffix}")
    return names
