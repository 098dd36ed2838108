"""POST /generate: seeds or latents in, samples out.

The whole flow of a request is the function `generate`, one line a stage:

    read the body → find the package → choose a form → plan the drawing → draw and write
"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api.operations import Operation, TheCall
from service.api.requests.body import read_json
from service.api.requests.generate import plan_generate
from service.api.responses.samples import respond, trace_plan
from service.api.sample_types import kind_of
from service.api.schemas.requests import GenerateQuery, GenerateRequest
from service.api.schemas.responses import GenerateAnswer
from service.media.negotiation import MEDIA, choose
from service.server.openapi import BINARY, link, problems, request_body

router = APIRouter(tags=["samples"], route_class=Operation)

_PROVENANCE = ("X-Model", "X-Model-Version", "X-Package-Sha256", "X-Precision", "X-Sampler", "X-Seeds")


@router.post(
    "/generate",
    operation_id="generate",
    summary="Draw samples",
    response_class=Response,
    responses={
        200: {
            "model": GenerateAnswer,
            "description": "Samples, in the form that `format` or `Accept` asks for: JSON, one NPY array, a ZIP of one "
            "file a sample with an index, or, of images only, one image (a contact sheet for more than one sample). "
            "The same package, seed and parameters give the same bytes, whatever else is asked for at the same time.",
            "content": dict.fromkeys((media.media_type for media in MEDIA if media.name != "json"), BINARY),
            "headers": {
                name: {"schema": {"type": "string"}, "description": "with every form but JSON"} for name in _PROVENANCE
            },
            "links": {
                "url": link(
                    "get_sample",
                    "the first sample as a resource",
                    name="$response.body#/model",
                    version="$response.body#/version",
                    seed="$response.body#/samples/0/seed",
                    form="npy",
                ),
                "score": link(
                    "score",
                    "what the discriminator says of the first sample",
                    body={"model": "$response.body#/model", "images": ["$response.body#/samples/0/image"]},
                ),
                "reconstruct": link(
                    "reconstruct",
                    "what the encoder makes of the first sample",
                    body={"model": "$response.body#/model", "images": ["$response.body#/samples/0/image"]},
                ),
            },
        },
        **problems(400, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=request_body(GenerateRequest, required=False),
)
async def generate(call: TheCall, query: Annotated[GenerateQuery, Query()]) -> Response:
    """Draw samples from a package's generator: images, vectors or items.

    Every sample is a function of its seed: sample `i` has seed `seed + i`, and asking for it again, alone or among
    thousands, gives the same bytes. An empty body draws one sample with a seed of the service's choosing.
    """
    parts, size = call.parts, len(call.body)
    wanted = await parts.offload.run_sized(size, read_json, GenerateRequest, call.body, call.headers)
    package = parts.repository.find(wanted.model, wanted.version)
    kind = kind_of(package.manifest.sample)
    media = choose(call.headers.get("accept"), query.format, kind.media)
    plan = await parts.offload.run_sized(size, plan_generate, wanted, package, kind, media, query.dtype, parts.settings)
    trace_plan(plan)
    if call.info.key is not None:
        plan.job.share = await call.charge(call.info.key, plan.drawn)
    return await respond(plan, media, parts, call.budget())
