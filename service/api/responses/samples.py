"""Generated samples in the form asked for: JSON, one image or a contact sheet, NPY, ZIP.

JSON states its provenance in the body, the other forms in headers.

Shapes: N samples, C channels, H height, W width.
"""

from functools import lru_cache

import numpy as np
from starlette.responses import Response

from service import tracing
from service.api.context import Context, TimeBudget
from service.api.requests.fields import write_ranges
from service.api.requests.generate import GeneratePlan
from service.api.responses.encoding import ResponseEncoder, columns_of, pixels_of, rows_of, slices_of
from service.api.responses.streaming import RawHeader, SampleFile, SampleStream, npy_file_header, npy_pieces, zip_pieces
from service.api.schemas.responses import GenerateAnswer, GeneratedSample
from service.engine.config import Precision
from service.engine.interface import Samples
from service.engine.model_spec import PackageKey
from service.media.encoders import npy, picture
from service.media.negotiation import Media
from service.packages.registry import ServedPackage

# Proxies refuse headers of more than 4 to 8 KiB.
MAX_LIST_HEADER_BYTES = 4096
# Packages whose headers are cached; a service has a few.
KNOWN_PACKAGES = 128


def trace_plan(plan: GeneratePlan) -> None:
    """Say on the request's span what is drawn."""
    if tracing.current() is not None:
        key, selection = plan.package.key, plan.job.selection
        tracing.describe(key.name, key.version, plan.count, None if selection is None else selection.method)


async def respond(plan: GeneratePlan, media: Media, parts: Context, budget: TimeBudget) -> Response:
    """Draw samples and respond with them in any form."""
    match media.name:
        case "json":
            return await _respond_json(plan, media, parts, budget)
        case "npy":
            if plan.count == 1 or plan.count <= plan.chunk_samples:
                return await _respond_array(plan, media, parts, budget)
            header = npy_file_header(plan)
            length = len(header) + plan.count * plan.sample_bytes
            return SampleStream(
                npy_pieces(header, plan, parts, budget),
                media.media_type,
                [*_provenance(plan), (b"content-length", str(length).encode())],
            )
        case "zip":
            pieces = zip_pieces(plan, parts, budget, ResponseEncoder(parts, media))
            return SampleStream(pieces, media.media_type, _provenance(plan))
        case _:
            return await respond_file(plan, media, parts, budget)


async def _draw(plan: GeneratePlan, parts: Context, budget: TimeBudget) -> Samples:
    plan.job.timeout_s = budget.timeout_s
    return await parts.engine.submit(plan.job)


async def _respond_array(plan: GeneratePlan, media: Media, parts: Context, budget: TimeBudget) -> Response:
    samples = await _draw(plan, parts, budget)
    rows = np.ascontiguousarray(rows_of(samples)).data.cast("B")
    return SampleFile((npy_file_header(plan), rows), media.media_type, _provenance(plan))


async def respond_file(plan: GeneratePlan, media: Media, parts: Context, budget: TimeBudget) -> SampleFile:
    """Draw samples and respond with one file, complete before its first byte: an image, or an NPY array."""
    encoding = ResponseEncoder(parts, media)
    samples = await _draw(plan, parts, budget)
    rows = rows_of(samples)
    match media.name:
        case "npy":
            body = await encoding.run_sized(rows.nbytes, npy, rows)
        case "png":
            body = await encoding.run_sized(rows.nbytes, picture, pixels_of(samples), media.name)
        case _:  # the others take milliseconds even for few pixels
            body = await encoding.run(picture, pixels_of(samples), media.name)
    headers = _provenance(plan)
    if samples.labels is not None:
        headers += list_header(b"x-labels", ",".join(map(str, samples.labels.tolist())))
    encoding.done()
    return SampleFile((body,), media.media_type, headers)


async def _respond_json(plan: GeneratePlan, media: Media, parts: Context, budget: TimeBudget) -> Response:
    encoding = ResponseEncoder(parts, media)
    samples = await _draw(plan, parts, budget)
    written: list[GeneratedSample] = []
    size_bytes = rows_of(samples).nbytes
    for place, part in slices_of(samples):
        written += await encoding.run_sized(size_bytes, _json_samples, plan, place, part, parts)
    answered = GenerateAnswer(
        model=plan.package.key.name,
        version=str(plan.package.key.version),
        sampler=plan.sampler,
        package_sha256=plan.package.sha256,
        precision=plan.package.reduced_precision,
        samples=written,
    )
    body = await encoding.run_sized(size_bytes, answered.model_dump_json, exclude_none=True)
    encoding.done()
    return Response(body, media_type=media.media_type)


def _json_samples(plan: GeneratePlan, place: slice, samples: Samples, parts: Context) -> list[GeneratedSample]:
    columns = columns_of(plan, place, samples, parts.telemetry)
    columns[plan.kind.field] = [plan.kind.written(row) for row in rows_of(samples)]
    return [
        GeneratedSample.model_validate(dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


def package_headers(package: ServedPackage) -> tuple[RawHeader, ...]:
    """Name the package, and the precision where it is below fp32, in headers."""
    return _package_headers(package.key, package.sha256, package.reduced_precision)


@lru_cache(maxsize=KNOWN_PACKAGES)
def _package_headers(key: PackageKey, sha256: str, precision: Precision | None) -> tuple[RawHeader, ...]:
    named = {"x-model": key.name, "x-model-version": str(key.version), "x-package-sha256": sha256}
    if precision is not None:
        named["x-precision"] = precision
    return tuple((name.encode(), value.encode("latin-1")) for name, value in named.items())


def _provenance(plan: GeneratePlan) -> list[RawHeader]:
    headers = [*package_headers(plan.package)]
    if (sampler := plan.sampler) is not None:
        headers.append((b"x-sampler", sampler.encode()))
    if plan.job.seeds is not None:
        headers += list_header(b"x-seeds", write_ranges(plan.job.seeds))
    return headers


def list_header(name: bytes, value: str) -> list[RawHeader]:
    """A header with one value a sample, or none where the list is too long for a header."""
    return [(name, value.encode("latin-1"))] if len(value) <= MAX_LIST_HEADER_BYTES else []
