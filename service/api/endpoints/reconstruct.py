"""POST /reconstruct: samples in, what the generator makes of their latents out, and how far it is from them.

The whole flow of a request is the function `reconstruct`, one line a stage:

    read the body → find the package → choose a form → validate the samples → encode → generate → write
"""

import json
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from starlette.responses import Response

from service import tracing
from service.api.context import Context, TimeBudget
from service.api.limits import check_size
from service.api.operations import Operation, TheCall
from service.api.requests.generate import check_dtype
from service.api.requests.samples import SAMPLES_BODY, SampleBody, ValidSamples, read_samples, validate_samples
from service.api.responses.encoding import ResponseEncoder, pixels_of, rows_of
from service.api.responses.readings import check_encodings, encoder_of
from service.api.responses.samples import list_header, package_headers
from service.api.responses.streaming import INDEX, SampleFile
from service.api.sample_types import Array, DtypeName, Images, Items, Kind, kind_of, sample_bytes
from service.api.schemas.requests import ReconstructQuery
from service.api.schemas.responses import ReconstructAnswer, Reconstruction
from service.engine.interface import NO_SHARE, EncodeJob, GenerateJob, Samples, Share
from service.engine.pixels import dequantise
from service.errors import InvalidRequest, Problem, ServiceFault
from service.media.archive import ZipStream
from service.media.encoders import npy, picture
from service.media.negotiation import MEDIA, Media, choose
from service.packages.registry import ServedPackage
from service.packages.schema import Graph, ImageSample
from service.server.openapi import BINARY, problems


@dataclass(frozen=True, slots=True)
class Reconstructing:
    """Samples to reconstruct, with nothing left to decide.

    Attributes:
        package: whose encoder and generator.
        encoder: its encoder.
        kind: of its samples.
        held: the samples.
        raw_values: whether the answer is the generator's own values rather than pixels.
    """

    package: ServedPackage
    encoder: Graph
    kind: Kind
    held: ValidSamples
    raw_values: bool


async def plan_reconstruction(
    given: SampleBody, package: ServedPackage, media: Media, dtype: DtypeName | None, parts: Context
) -> Reconstructing:
    """Hold given samples against a package and the form of the answer, and decode them.

    Raises:
        InvalidRequest: the package cannot reconstruct these samples; every place is named.
        BodyTooLarge: an image has more pixels than the limit.
    """
    manifest, kind = package.manifest, kind_of(package.manifest.sample)
    encoder = encoder_of(package, given)
    check_dtype(dtype, kind, media)
    _check_way_back(package, encoder, given)
    held = await validate_samples(given, package, [encoder, manifest.generator], parts.settings, parts.offload)
    check_size(kind, len(held.rows), sample_bytes(kind, raw_values=True), media, ("body",), "send fewer at a time")
    raw_values = dtype == "float32" or not isinstance(kind, Images)
    return Reconstructing(package, encoder, kind, held, raw_values)


def _check_way_back(package: ServedPackage, encoder: Graph, given: SampleBody) -> None:
    """Refuse a package whose encoder does not give all that its generator draws from."""
    reads = {tensor.role for tensor in encoder.outputs}
    if "latent" not in reads:
        words = (
            f"the encoder of {package.key} reads codes and no latent, so nothing can be generated from what it gives; "
            "ask /encode for the codes, and /generate for samples with them"
        )
    elif package.manifest.codes is not None:
        words = f"the generator of {package.key} takes codes beside the latent; ask /encode, and /generate with both"
    elif isinstance(kind_of(package.manifest.sample), Items):
        words = f"the samples of {package.key} are items, and an id has no distance from another"
    else:
        return
    raise InvalidRequest(Problem((given.place, "model"), words))


async def make(wanted: Reconstructing, parts: Context, budget: TimeBudget, share: Share) -> Samples:
    """Encode, and generate from what comes out.

    Returns:
        The generator's own values and, of images, their pixels.

    Raises:
        InvalidRequest: a sample's latent is not finite.
        TryAgainError: as `Engine.submit` says.
    """
    with budget.spend() as left_s:
        asked = replace(wanted.held.job(EncodeJob, wanted.encoder), timeout_s=left_s(), share=share)
        encoded = await parts.engine.submit(asked)
    check_encodings(encoded)
    with budget.spend() as left_s:
        return await parts.engine.submit(
            GenerateJob(
                package=wanted.package.key,
                latents=encoded.latents,
                labels=wanted.held.labels if wanted.package.manifest.labels else None,
                conditions=wanted.held.conditions if wanted.package.manifest.condition else None,
                want_pixels=isinstance(wanted.kind, Images),
                want_sample=True,
                timeout_s=left_s(),
                share=share,
            )
        )


async def write(wanted: Reconstructing, made: Samples, media: Media, parts: Context) -> Response:
    """Write reconstructions and their distances in the form asked for."""
    encoding = ResponseEncoder(parts, media)
    distances = await encoding.run(_distances, wanted, made)
    rows = rows_of(made) if wanted.raw_values else pixels_of(made)
    package = wanted.package
    headers = [*package_headers(package), *list_header(b"x-distances", ",".join(map(repr, distances)))]
    match media.name:
        case "json":
            body, headers = await encoding.run(_json, wanted, rows, distances), []
        case "npy":
            body = await encoding.run(npy, rows)
        case "zip":
            body = await encoding.run(_zip, wanted, rows, distances)
        case _:
            body = await encoding.run(picture, pixels_of(made), media.name)
    encoding.done()
    return SampleFile((body,), media.media_type, headers)


def _distances(wanted: Reconstructing, made: Samples) -> list[float]:
    """Mean squared difference of each sample from its reconstruction, [N]."""
    if made.sample is None:
        raise ServiceFault("the engine answered no sample")
    given, sample = wanted.held.rows, wanted.package.manifest.sample
    if given.dtype == np.uint8 and isinstance(sample, ImageSample):
        given = dequantise(given.astype(np.uint8, copy=False), sample.range)
    return [_distance(x, again) for x, again in zip(given, made.sample, strict=True)]


def _distance(x: Array, again: Array) -> float:
    return float(np.mean(np.square(x.astype(np.float64) - again.astype(np.float64))))


def _json(wanted: Reconstructing, rows: Array, distances: list[float]) -> bytes:
    kind, package = wanted.kind, wanted.package
    answered = ReconstructAnswer(
        model=package.key.name,
        version=str(package.key.version),
        package_sha256=package.sha256,
        reconstructions=[
            Reconstruction.model_validate({kind.field: kind.written(row), "distance": distance})
            for row, distance in zip(rows, distances, strict=True)
        ],
    )
    return answered.model_dump_json(exclude_none=True).encode()


def _zip(wanted: Reconstructing, rows: Array, distances: list[float]) -> bytes:
    """A file a sample, numbered in their order, and `index.json`."""
    archive, package = ZipStream(), wanted.package
    digits = len(str(len(rows) - 1))
    names = [f"reconstruction-{index:0{digits}}.{wanted.kind.suffix}" for index in range(len(rows))]
    files = [archive.entry(name, wanted.kind.file(row)) for name, row in zip(names, rows, strict=True)]
    index = {
        "model": package.key.name,
        "version": str(package.key.version),
        "package_sha256": package.sha256,
        "reconstructions": [
            {"file": name, "distance": distance} for name, distance in zip(names, distances, strict=True)
        ],
    }
    return b"".join(files) + archive.entry(INDEX, json.dumps(index).encode()) + archive.end()


router = APIRouter(tags=["samples"], route_class=Operation)

_PROVENANCE = ("X-Model", "X-Model-Version", "X-Package-Sha256", "X-Distances")


@router.post(
    "/reconstruct",
    operation_id="reconstruct",
    summary="Encode samples and generate them again",
    response_class=Response,
    responses={
        200: {
            "model": ReconstructAnswer,
            "description": "G(E(x)) of each sample x, in the form that `format` or `Accept` asks for, as of /generate. "
            "The distance is the mean squared difference in the units of the generator's own values, before an image "
            "is quantised.",
            "content": dict.fromkeys((media.media_type for media in MEDIA if media.name != "json"), BINARY),
            "headers": {
                name: {"schema": {"type": "string"}, "description": "with every form but JSON"} for name in _PROVENANCE
            },
        },
        **problems(400, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=SAMPLES_BODY,
)
async def reconstruct(call: TheCall, query: Annotated[ReconstructQuery, Query()]) -> Response:
    """Ask what is left of samples after a package's encoder and generator.

    Bodies are those of /score; the answer takes the forms of /generate. A package whose encoder gives no latent is
    answered 422.
    """
    parts = call.parts
    given = await parts.offload.run_sized(
        len(call.body), read_samples, call.body, call.headers, query, parts.settings.max_score_images
    )
    package = parts.repository.find(given.model, given.version)
    forms = kind_of(package.manifest.sample).media
    media = choose(call.headers.get("accept"), query.format, forms)
    wanted = await plan_reconstruction(given, package, media, query.dtype, parts)
    tracing.describe(package.key.name, package.key.version, len(wanted.held.rows))
    share = NO_SHARE if call.info.key is None else await call.charge(call.info.key, len(wanted.held.rows))
    made = await make(wanted, parts, call.budget(), share)
    return await write(wanted, made, media, parts)
