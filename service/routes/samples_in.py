"""What a body of samples holds, before anybody decodes it: files, an array, or numbers, and whose graph they are for.

Five media types become one `Given`. The binary ones cannot name a model, so theirs stands in the query; JSON names its
own, and a query beside it is refused rather than ranked. /score, /encode and /reconstruct take the same bodies. Pure
functions of bytes and headers.
"""

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers

from service.errors import InvalidRequest, Problem, UnsupportedMediaType
from service.routes.documentation import BINARY, request_body
from service.routes.labels import QUERY, Loc
from service.routes.multipart import FILE_PART, read_files
from service.routes.reading import JSON, media_type_of, read_json
from service.routes.schemas import SamplesQuery, SamplesRequest

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp"})
NPY = "application/x-npy"
MULTIPART = "multipart/form-data"
SUPPORTED = ", ".join((*sorted(IMAGES), MULTIPART, NPY, JSON))
_FILES: Final = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
}
# What a route that reads samples says of its body in the OpenAPI document.
SAMPLES_BODY: Final = request_body(
    SamplesRequest, required=True, others=dict.fromkeys((*sorted(IMAGES), NPY), BINARY) | {MULTIPART: _FILES}
)


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
    """Samples as flat lists of the generator's own values."""

    rows: list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a caller gave.

    Attributes:
        model: package asked for, or None for the default.
        version: its version, or None for the newest.
        samples: files, an array or numbers.
        label: the class of every sample.
        labels: one class a sample.
        condition: the id that every sample belongs to, or one a sample.
        place: where model, labels and condition stood in the request, `body` or `query`.
    """

    model: str | None
    version: str | None
    samples: ImageFiles | NpyFile | Numbers
    label: int | str | None = None
    labels: list[int | str] | None = None
    condition: int | list[int] | None = None
    place: str


def read_given(body: bytes, headers: Headers, query: SamplesQuery, max_images: int) -> Given:
    """Read a body of samples.

    Args:
        body: its bytes.
        headers: the request's.
        query: the request's.
        max_images: most samples in one request.

    Raises:
        UnsupportedMediaType: it is none of the types listed.
        MalformedRequest: it cannot be read.
        InvalidRequest: it reads, but does not hold together.
    """
    media_type = media_type_of(headers)
    if media_type in IMAGES:
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


def _with_query(samples: ImageFiles | NpyFile, query: SamplesQuery) -> Given:
    labels, conditions = query.label, query.condition
    return Given(
        model=query.model,
        version=query.version,
        samples=samples,
        label=labels[0] if len(labels) == 1 else None,
        labels=[*labels] if len(labels) > 1 else None,
        condition=conditions[0] if len(conditions) == 1 else conditions or None,
        place=QUERY,
    )


def _from_json(asked: SamplesRequest, query: SamplesQuery, max_images: int) -> Given:
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
    return Given(
        model=asked.model,
        version=asked.version,
        samples=samples,
        label=asked.label,
        labels=asked.labels,
        condition=asked.condition,
        place="body",
    )
