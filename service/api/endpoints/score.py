"""POST /score: samples in, what the discriminator says of them out.

The whole flow of a request is the function `score`, one line a stage:

    read the body → find the package → decode the samples → judge → write
"""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service import tracing
from service.api.operations import Operation, TheCall
from service.api.requests.samples import SAMPLES_BODY, read_samples
from service.api.responses.readings import plan_judging, write_scores
from service.api.schemas.requests import SamplesQuery
from service.api.schemas.responses import ScoreAnswer
from service.engine.interface import NO_SHARE
from service.server.openapi import problems
from service.server.problems import JSON

router = APIRouter(tags=["samples"], route_class=Operation)


@router.post(
    "/score",
    operation_id="score",
    summary="Judge samples",
    response_class=Response,
    responses={
        200: {"model": ScoreAnswer, "description": "One score a sample, in their order."},
        **problems(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=SAMPLES_BODY,
)
async def score(call: TheCall, query: Annotated[SamplesQuery, Query()]) -> Response:
    """Ask a package's discriminator how real samples look.

    A sample is an image file, a part of a form named `file`, a row of an NPY array (of images uint8 [N, H, W, C] or the
    generator's own float32 [N, C, H, W]; of vectors float32 [N, D]; of items int64 [N]), or JSON. It must be what the
    package itself makes, an image of its size and mode: nothing is resized or converted. A score does not depend on
    what others ask at the same time.

    A discriminator of classes may be asked without one, of at most 64: each sample is then judged under every class,
    which counts as so many samples in the queue. The answer names the class that fits best, and its probability is
    calibrated for samples whose class is unknown. It is no classifier: `label_probability` says how sure it is.
    """
    parts = call.parts
    given = await parts.offload.run_sized(
        len(call.body), read_samples, call.body, call.headers, query, parts.settings.max_score_images
    )
    package = parts.repository.find(given.model, given.version)
    judging = await plan_judging(given, package, parts.settings, parts.offload)
    tracing.describe(package.key.name, package.key.version, judging.count)
    share = NO_SHARE if call.info.key is None else await call.charge(call.info.key, judging.rows)
    with call.budget().spend() as left_s:
        judged = await parts.engine.submit(replace(judging.job, timeout_s=left_s(), share=share))
    with tracing.encoding():
        answered = await parts.offload.run(write_scores, judging, judged, parts.telemetry)
    return Response(answered, media_type=JSON)
