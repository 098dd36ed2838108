"""POST /reconstruct: samples in, what the generator makes of their latents out, and how far it is from them.

The whole flow of a request is the function `reconstruct`, one line a stage:

    read the body → find the package → choose a form → hold the samples against it → encode → generate → write
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.media.negotiation import MEDIA, choose
from service.routes.answer_schemas import ReconstructAnswer
from service.routes.context import Parts
from service.routes.deadlines import Budget
from service.routes.documentation import BINARY, problems
from service.routes.reconstructions import make, plan_reconstruction, write
from service.routes.sample_kinds import kind_of
from service.routes.samples_in import SAMPLES_BODY, read_given
from service.routes.schemas import ReconstructQuery

router = APIRouter(tags=["samples"])

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
async def reconstruct(
    request: Request, query: Annotated[ReconstructQuery, Query()], parts: Parts, budget: Budget
) -> Response:
    """Ask what is left of samples after a package's encoder and generator.

    Bodies are those of /score; the answer takes the forms of /generate. A package whose encoder gives no latent is
    answered 422.
    """
    body = await request.body()
    given = await parts.offload.run_sized(
        len(body), read_given, body, request.headers, query, parts.settings.max_score_images
    )
    package = parts.repository.find(given.model, given.version)
    forms = kind_of(package.manifest.sample).media
    media = choose(",".join(request.headers.getlist("accept")), query.format, forms)
    wanted = await plan_reconstruction(given, package, media, query.dtype, parts)
    made = await make(wanted, parts, budget)
    return await write(wanted, made, media, parts)
