"""POST /generate: seeds or latents in, samples out.

The whole flow of a request is the function `_answer`, one line a stage:

    read the body → find the package → choose a form → plan the drawing → draw and write
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.context import INLINE_BYTES, Budget, Context, Parts, TimeBudget, budget_for
from service.api.requests.body import read_json
from service.api.requests.generate import plan_generate
from service.api.requests.query import read_query, read_timeout_ms
from service.api.responses.samples import is_streamed, respond
from service.api.sample_types import kind_of
from service.api.schemas.requests import GenerateQuery, GenerateRequest
from service.api.schemas.responses import GenerateAnswer
from service.media.negotiation import MEDIA, choose
from service.server.express import Answering, ExpressRoute
from service.server.openapi import BINARY, link, problems, request_body
from service.server.request_info import exchange_of

router = APIRouter(tags=["samples"])

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
async def generate(
    request: Request, query: Annotated[GenerateQuery, Query()], parts: Parts, budget: Budget
) -> Response:
    """Draw samples from a package's generator: images, vectors or items.

    Every sample is a function of its seed: sample `i` has seed `seed + i`, and asking for it again, alone or among
    thousands, gives the same bytes. An empty body draws one sample with a seed of the service's choosing.
    """
    return await _answer(await request.body(), exchange_of(request.scope).headers, query, parts, budget)


async def _answer(
    body: bytes, headers: Mapping[str, str], query: GenerateQuery, parts: Context, budget: TimeBudget
) -> Response:
    """As `generate`."""
    wanted = await parts.offload.run_sized(len(body), read_json, GenerateRequest, body, headers)
    package = parts.repository.find(wanted.model, wanted.version)
    kind = kind_of(package.manifest.sample)
    media = choose(headers.get("accept"), query.format, kind.media)
    plan = await parts.offload.run_sized(
        len(body), plan_generate, wanted, package, kind, media, query.dtype, parts.settings
    )
    return await respond(plan, media, parts, budget)


def _plan(parts: Context, headers: Mapping[str, str], query: bytes, body: bytes) -> Answering | None:
    """As `ExpressRoute.plan`: the same stages, all at once."""
    if len(body) > INLINE_BYTES:
        return None
    form = read_query(GenerateQuery, query)
    wanted = read_json(GenerateRequest, body, headers)
    package = parts.repository.find(wanted.model, wanted.version)
    kind = kind_of(package.manifest.sample)
    media = choose(headers.get("accept"), form.format, kind.media)
    plan = plan_generate(wanted, package, kind, media, form.dtype, parts.settings)
    if is_streamed(plan, media):
        return None
    return partial(respond, plan, media, parts, budget_for(read_timeout_ms(headers), parts.settings))


EXPRESS = ExpressRoute("/generate", _plan)
