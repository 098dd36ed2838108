"""The forms that may be large, NPY and ZIP, as pieces in constant memory.

An NPY file's length is known before its first sample is computed, so it is stated. A ZIP's is not; what it keeps to
the end is its directory and the columns of `index.json`, about a hundred bytes a sample.

Shapes: N samples, C channels, H height, W width.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from service.engine.port import Samples
from service.media.archive import ZipStream
from service.media.encoders import npy_header, png
from service.routes.context import Context
from service.routes.deadlines import TimeBudget
from service.routes.drawing import Drawing
from service.routes.encoding import Encoding, pixels_of, realness_of, slices_of
from service.routes.streams import draw

INDEX = "index.json"


def npy_file_header(drawing: Drawing) -> bytes:
    """Write the head of the NPY file that holds a drawing: uint8 [N, H, W, C], or float32 [N, C, H, W]."""
    height, width, channels = drawing.shape
    if drawing.floats:
        return npy_header((drawing.count, channels, height, width), np.float32)
    return npy_header((drawing.count, height, width, channels), np.uint8)


async def npy_pieces(
    header: bytes, drawing: Drawing, parts: Context, budget: TimeBudget, encoding: Encoding
) -> AsyncGenerator[bytes | memoryview]:
    """Write one NPY file; the header waits for the first chunk, which may still be refused with a status."""
    async with aclosing(draw(parts.engine, drawing.jobs(drawing.chunk_samples), budget)) as chunks:
        async for samples in chunks:
            if header:
                yield header
                header = b""
            array = samples.sample if drawing.floats else pixels_of(samples)
            yield np.ascontiguousarray(array).data.cast("B")
    encoding.done()


async def zip_pieces(
    drawing: Drawing, parts: Context, budget: TimeBudget, encoding: Encoding
) -> AsyncGenerator[bytes | memoryview]:
    """Write one ZIP archive: a PNG a sample, and `index.json`."""
    archive = ZipStream()
    names = _entry_names(drawing)
    labels: list[int] = []
    realness: list[float] = []
    written = 0
    async with aclosing(draw(parts.engine, drawing.jobs(drawing.chunk_samples), budget)) as chunks:
        async for samples in chunks:
            labels += [] if samples.labels is None else samples.labels.tolist()
            judged = await encoding.run(realness_of, drawing.package, samples, parts)
            realness += judged or []
            for place, part in slices_of(samples):
                entries = names[written + place.start : written + place.stop]
                yield await encoding.run(_entries, archive, entries, part)
            written += len(pixels_of(samples))
    yield await encoding.run(_end, archive, drawing, names, labels, realness)
    encoding.done()


def _entries(archive: ZipStream, names: list[str], samples: Samples) -> bytes:
    images = zip(names, pixels_of(samples), strict=True)
    return b"".join(archive.entry(name, png(pixels)) for name, pixels in images)


def _end(archive: ZipStream, drawing: Drawing, names: list[str], labels: list[int], realness: list[float]) -> bytes:
    columns: dict[str, list[str] | list[int] | list[float]] = {"file": names}
    if drawing.seeds is not None:
        columns["seed"] = drawing.seeds.tolist()
    if labels:
        columns["label"] = labels
    if realness:
        columns["realness"] = realness
    index = {
        "model": drawing.package.key.name,
        "version": str(drawing.package.key.version),
        "package_sha256": drawing.package.sha256,
        "samples": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }
    if drawing.seeds is not None:
        index["sampler"] = drawing.sampler
    return archive.entry(INDEX, json.dumps(index).encode()) + archive.end()


def _entry_names(drawing: Drawing) -> list[str]:
    """One file name a sample: its seed, and which time the seed comes where it comes again."""
    if drawing.seeds is None:
        digits = len(str(drawing.count - 1))
        return [f"latent-{index:0{digits}}.png" for index in range(drawing.count)]
    seen: Counter[int] = Counter()
    names = []
    for seed in drawing.seeds.tolist():
        seen[seed] += 1
        names.append(f"{seed}.png" if seen[seed] == 1 else f"{seed}-{seen[seed]}.png")
    return names
