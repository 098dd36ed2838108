"""Reads and validates the samples of a request to score, encode or reconstruct.

A sample must be exactly what the package's generator makes; nothing is resized or converted, since the result would be
another sample's.

Shapes: N samples, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.api.context import ThreadPool
from service.api.requests.body import FILE_PART, media_type_of, read_files, read_json
from service.api.requests.fields import QUERY, read_conditions, read_labels
from service.api.sample_types import Array, Images, kind_of
from service.api.schemas.requests import SamplesQuery, SamplesRequest
from service.engine.interface import SampleJob, to_sample_dtype
from service.engine.model_spec import PackageKey
from service.errors import InvalidRequest, Problem, UnsupportedMediaType
from service.media.decoders import IMAGE_TYPES, Loc, decode_base64, decode_image
from service.packages.registry import ServedPackage
from service.packages.schema import Graph, ImageSample, ItemSample, VectorSample
from service.server.openapi import BINARY, request_body
from service.server.problems import JSON
from service.settings import Settings

# Decoded at a time on one thread, so that requests share the threads: about a millisecond of small PNGs.
SLICE_IMAGES = 32
# In widths of the range. Generators overshoot by less; values of another scale, [0, 255] say, are further away.
MAX_BEYOND = 0.5
NPY = "application/x-npy"
MULTIPART = "multipart/form-data"
SUPPORTED = ", ".join((*sorted(IMAGE_TYPES), MULTIPART, NPY, JSON))
_FILES: Final = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
}
# Of an endpoint that reads samples, for the OpenAPI document.
SAMPLES_BODY: Final = request_body(
    SamplesRequest, required=True, others=dict.fromkeys((*sorted(IMAGE_TYPES), NPY), BINARY) | {MULTIPART: _FILES}
)

J = TypeVar("J", bound=SampleJob)


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files.

    Attributes:
        files: bytes, or base64 text.
        locs: where each stands in the request.
    """

    files: tuple[bytes | str, ...]
    locs: tuple[Loc, ...]


@dataclass(frozen=True, slots=True)
class NpyFile:
    """One NPY array of samples."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Numbers:
    """Samples as flat lists of the generator's raw values."""

    rows: list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBody:
    """A body of samples, read but not decoded.

    Attributes:
        model: None for the default.
        version: None for the newest.
        label: the class of every sample.
        labels: one class per sample.
        condition: the id of every sample, or one per sample.
        place: where model, labels and condition stand, `body` or `query`.
    """

    model: str | None
    version: str | None
    samples: ImageFiles | NpyFile | Numbers
    label: int | str | None = None
    labels: list[int | str] | None = None
    condition: int | list[int] | None = None
    place: str


def read_samples(body: bytes, headers: Mapping[str, str], query: SamplesQuery, max_images: int) -> SampleBody:
    """Read a body of at most `max_images` samples.

    Raises:
        UnsupportedMediaType: it is none of `SUPPORTED`.
        MalformedRequest: it cannot be read.
        InvalidRequest: a JSON body comes with query parameters, or holds no samples or too many.
    """
    media_type = media_type_of(headers)
    if media_type in IMAGE_TYPES:
        return _with_query(ImageFiles((body,), (("body",),)), query)
    if media_type == MULTIPART:
        files = read_files(body, headers["content-type"], max_images)
        locs: tuple[Loc, ...] = tuple(("body", FILE_PART, index) for index in range(len(files)))
        return _with_query(ImageFiles(tuple(files), locs), query)
    if media_type == NPY:
        return _with_query(NpyFile(body), query)
    if media_type == JSON or media_type.endswith("+json"):
        return _from_json(read_json(SamplesRequest, body, headers), query, max_images)
    raise UnsupportedMediaType(f"Samples are read as {SUPPORTED}.")


def _with_query(samples: ImageFiles | NpyFile, query: SamplesQuery) -> SampleBody:
    labels, conditions = query.label, query.condition
    return SampleBody(
        model=query.model,
        version=query.version,
        samples=samples,
        label=labels[0] if len(labels) == 1 else None,
        labels=[*labels] if len(labels) > 1 else None,
        condition=conditions[0] if len(conditions) == 1 else conditions or None,
        place=QUERY,
    )


def _from_json(asked: SamplesRequest, query: SamplesQuery, max_images: int) -> SampleBody:
    said = sorted(query.model_fields_set & SamplesQuery.model_fields.keys())
    beside = [Problem(("query", field), "a JSON body says this itself") for field in said]
    if beside:
        raise InvalidRequest(*beside)
    samples: ImageFiles | Numbers
    match asked:
        case SamplesRequest(images=list(images), samples=None):
            locs: tuple[Loc, ...] = tuple(("body", "images", index) for index in range(len(images)))
            samples = ImageFiles(tuple(images), locs)
        case SamplesRequest(images=None, samples=list(rows)):
            samples = Numbers(rows)
        case _:
            raise InvalidRequest(Problem(("body",), "give either `images` or `samples`"))
    count = len(asked.images or asked.samples or ())
    if count > max_images:
        field = "images" if asked.images else "samples"
        raise InvalidRequest(Problem(("body", field), f"at most {max_images} in one request"))
    return SampleBody(
        model=asked.model,
        version=asked.version,
        samples=samples,
        label=asked.label,
        labels=asked.labels,
        condition=asked.condition,
        place="body",
    )


@dataclass(frozen=True, slots=True)
class ValidSamples:
    """Samples that fit their package.

    Attributes:
        rows: pixels [N, H, W, C] uint8, or raw values [N, …].
        labels: [N], where the graphs take the class; None where it is not named and need not be.
        conditions: [N], where the graphs take the condition.
    """

    package: PackageKey
    rows: Array
    labels: NDArray[np.int64] | None
    conditions: NDArray[np.int64] | None

    def job(self, ask: type[J], graph: Graph) -> J:
        """A job for one of the graphs, with the conditioning that it takes."""
        takes = {tensor.role for tensor in graph.inputs}
        is_pixels = self.rows.dtype == np.uint8
        return ask(
            package=self.package,
            pixels=self.rows.astype(np.uint8, copy=False) if is_pixels else None,
            sample=None if is_pixels else to_sample_dtype(self.rows),
            labels=self.labels if "label" in takes else None,
            conditions=self.conditions if "condition" in takes else None,
        )


async def validate_samples(
    given: SampleBody,
    package: ServedPackage,
    graphs: Sequence[Graph],
    settings: Settings,
    offload: ThreadPool,
    *,
    needs_label: bool = True,
) -> ValidSamples:
    """Decode samples and validate them against a package.

    Args:
        graphs: which will run, so that their conditioning is needed.
        needs_label: whether a class is needed where the graphs take one.

    Raises:
        InvalidRequest: they are not the package's samples, or a class or condition is missing or unknown.
        BodyTooLarge: an image has more pixels than the limit.
    """
    manifest = package.manifest
    takes = {tensor.role for graph in graphs for tensor in graph.inputs}
    rows = await _decode(given, package, settings, offload)
    if len(rows) > settings.max_score_images:
        raise InvalidRequest(Problem(("body",), f"at most {settings.max_score_images} samples in one request"))
    takes_label = "label" in takes
    labels = read_labels(
        given.label,
        given.labels,
        names=manifest.labels.names if takes_label and manifest.labels else (),
        count=len(rows),
        place=given.place,
    )
    if takes_label and labels is None and needs_label:
        words = "this package is told the class of each sample; name it"
        raise InvalidRequest(Problem((given.place, "label"), words))
    condition = manifest.condition if "condition" in takes else None
    conditions = read_conditions(given.condition, condition, count=len(rows), place=given.place)
    return ValidSamples(package.key, rows, labels, conditions)


async def _decode(given: SampleBody, package: ServedPackage, settings: Settings, offload: ThreadPool) -> Array:
    kind = kind_of(package.manifest.sample)
    match given.samples:
        case ImageFiles(files, locs) if isinstance(kind, Images):
            pixels = [
                await offload.run(
                    _decode_files, ImageFiles(files[part], locs[part]), kind.shape, settings.max_image_pixels
                )
                for part in _slices(len(files))
            ]
            return np.concatenate(pixels)
        case ImageFiles(_, locs):
            words = f"this package's samples are {kind.words}; send them in JSON as `samples`, or as an NPY array"
            raise InvalidRequest(Problem(locs[0][:2], words))
        case NpyFile(content):
            array = await offload.run_sized(len(content), kind.read_npy, content)
            return await offload.run_sized(array.nbytes, _in_range, array, package.manifest.sample)
        case Numbers(rows):
            array = await offload.run(kind.read, rows)
            return await offload.run_sized(array.nbytes, _in_range, array, package.manifest.sample, "samples")


def _in_range(rows: Array, sample: ImageSample | VectorSample | ItemSample, field: str | None = None) -> Array:
    """Refuse images whose values are of another range: they would score as the most real of all."""
    if not isinstance(sample, ImageSample) or rows.dtype == np.uint8:
        return rows
    low, high = sample.range
    slack = (high - low) * MAX_BEYOND
    values = rows.reshape(len(rows), -1).astype(np.float32, copy=False)
    beyond = np.flatnonzero((values.min(axis=1) < low - slack) | (values.max(axis=1) > high + slack))
    if beyond.size:
        first = values[beyond[0]]
        words = (
            f"the values of this package's images are from {low:g} to {high:g}; those of sample {beyond[0]} are from "
            f"{first.min():g} to {first.max():g}"
        )
        raise InvalidRequest(Problem(("body",) if field is None else ("body", field, int(beyond[0])), words))
    return rows


def _slices(count: int) -> list[slice]:
    return [slice(start, start + SLICE_IMAGES) for start in range(0, count, SLICE_IMAGES)]


def _decode_files(images: ImageFiles, shape: tuple[int, int, int], max_pixels: int) -> NDArray[np.uint8]:
    """Decode image files to [N, H, W, C]."""
    return np.stack(
        [
            decode_image(decode_base64(file, loc) if isinstance(file, str) else file, shape, max_pixels, loc)
            for file, loc in zip(images.files, images.locs, strict=True)
        ]
    )
