"""POST /encode: samples in, the latents and codes that the encoder reads in them out.

The whole flow of a request is the function `encode`, one line a stage:

    read the body → find the package → validate the samples → encode → write
"""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service import tracing
from service.api.limits import check_numbers
from service.api.operations import Operation, TheCall
from service.api.requests.samples import SAMPLES_BODY, read_samples, validate_samples
from service.api.responses.readings import encoder_of, numbers_of, write_encodings
from service.api.schemas.requests import SamplesQuery
from service.api.schemas.responses import EncodeAnswer
from service.engine.interface import NO_SHARE, EncodeJob
from service.server.openapi import problems
from service.server.problems import JSON

router = APIRouter(tags=["samples"], route_class=Operation)


@router.post(
    "/encode",
    operation_id="encode",
    summary="Read latents and codes in samples",
    response_class=Response,
    responses={
        200: {"model": EncodeAnswer, "description": "One encoding a sample, in their order."},
        **problems(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=SAMPLES_BODY,
)
async def encode(call: TheCall, query: Annotated[SamplesQuery, Query()]) -> Response:
    """Ask a package's encoder for the latent (BiGAN) or the codes (InfoGAN) of samples.

    Bodies are those of /score. A package without an encoder is answered 422. An encoding does not depend on what others
    ask at the same time.
    """
    parts = call.parts
    given = await parts.offload.run_sized(
        len(call.body), read_samples, call.body, call.headers, query, parts.settings.max_score_images
    )
    package = parts.repository.find(given.model, given.version)
    encoder = encoder_of(package, given)
    held = await validate_samples(given, package, [encoder], parts.settings, parts.offload)
    check_numbers(len(held.rows), numbers_of(encoder), ("body",), "send fewer at a time")
    tracing.describe(package.key.name, package.key.version, len(held.rows))
    share = NO_SHARE if call.info.key is None else await call.charge(call.info.key, len(held.rows))
    with call.budget().spend() as left_s:
        encoded = await parts.engine.submit(replace(held.job(EncodeJob, encoder), timeout_s=left_s(), share=share))
    with tracing.encoding():
        answered = await parts.offload.run(write_encodings, package, encoded)
    return Response(answered, media_type=JSON)
