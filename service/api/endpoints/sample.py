"""GET /models/NAME/versions/VERSION/samples/SEED.FORM: one sample as a resource, which browsers and CDNs may keep.

A URL that names the stack (`api/stack.py`) names bytes that never change; one that does not is redirected to one that
does. The whole flow of a request is `get_sample`:

    find the package → plan the drawing → is the stack named? → draw and write → is it what the caller has?

References:
    RFC 9110, HTTP Semantics: §15.4.8 (307), §15.4.5 (304).
"""

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from service.api.caching import CHECK_AGAIN, IMMUTABLE, OWN_IMMUTABLE, names
from service.api.context import Context
from service.api.limits import MAX_SEED
from service.api.operations import Operation, TheCall
from service.api.requests.fields import QUERY
from service.api.requests.generate import GeneratePlan, plan_generate
from service.api.requests.sample_url import SampleQuery
from service.api.responses.samples import respond_file, trace_plan
from service.api.sample_types import kind_of
from service.api.stack import stack_id
from service.errors import InvalidRequest, Problem
from service.media.negotiation import MEDIA, Media, Suffix
from service.packages.registry import ServedPackage
from service.server.openapi import BINARY, problems

router = APIRouter(prefix="/models", tags=["samples"], route_class=Operation)

# File name ending → the form of the answer.
FORMS: Final = {media.suffix: media for media in MEDIA if media.suffix is not None}
_PATH: Final = "/{name}/versions/{version}/samples/{seed}.{form}"
_HEADERS: Final = {
    "ETag": "SHA-256 of the bytes",
    "Cache-Control": f"`{IMMUTABLE}`; where `fast` gave up the promise of equal bytes, `{CHECK_AGAIN}`",
    "X-Model": "package that answered",
    "X-Model-Version": "its version",
    "X-Package-Sha256": "SHA-256 of its manifest",
    "X-Precision": "of the arithmetic, where it was less than fp32",
    "X-Sampler": "how the seed became a latent",
    "X-Seeds": "the seed",
    "X-Labels": "the class, of a conditional package's image",
}
_RESPONSES: Final[dict[int | str, dict[str, object]]] = {
    200: {
        "description": "The sample.",
        "content": {media.media_type: BINARY for media in FORMS.values()},
        "headers": {name: {"schema": {"type": "string"}, "description": said} for name, said in _HEADERS.items()},
    },
    304: {"description": "The caller has these bytes: `If-None-Match` names their ETag."},
    307: {
        "description": "`stack` is not named, or is another than the current one; `Location` names it.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "the same sample under the current stack"},
            "Cache-Control": {"schema": {"type": "string"}, "description": f"`{CHECK_AGAIN}`"},
        },
    },
    **problems(404, 422, 429, 503, 504),
}


@router.get(
    _PATH, operation_id="get_sample", summary="One sample, by its URL", response_class=Response, responses=_RESPONSES
)
async def get_sample(
    call: TheCall,
    name: Annotated[str, Path(description="package", examples=["mnist"])],
    version: Annotated[str, Path(description="its version", examples=["1"])],
    seed: Annotated[int, Path(ge=0, le=MAX_SEED, description="what the sample is drawn from", examples=[7])],
    form: Annotated[Suffix, Path(description="of the file; of vectors and items `npy` only", examples=["png"])],
    query: Annotated[SampleQuery, Query()],
    if_none_match: Annotated[
        str, Header(description="ETags of what the caller has", examples=['"9c781c6be0fddd2f"'])
    ] = "",
) -> Response:
    """Answer one sample as a file that may be kept for ever.

    It is the sample that /generate draws for this seed and these parameters: an image as PNG, WebP (both without loss)
    or JPEG, or any sample as an NPY array of one row. Under a stack the bytes of a URL never change.
    """
    parts = call.parts
    package = parts.repository.find(name, version)
    plan = _plan(query, seed, package, FORMS[form], parts)
    stack = await parts.offload.run(stack_id, package)  # the first of a process writes some pictures
    if query.stack != stack:
        # Relative, because behind a proxy the path that the caller asked for is another.
        location = f"{seed}.{form}?{query.canonical(stack)}"
        return Response(status_code=307, headers={"location": location, "cache-control": CHECK_AGAIN})
    trace_plan(plan)
    if call.info.key is not None:
        plan.job.share = await call.charge(call.info.key, plan.drawn)
    answer = await respond_file(plan, FORMS[form], parts, call.budget())
    etag = f'"{hashlib.sha256(b"".join(answer.pieces)).hexdigest()}"'
    kept = OWN_IMMUTABLE if parts.settings.keys_file else IMMUTABLE
    fresh = {"etag": etag, "cache-control": kept if package.report.generator.reproducible else CHECK_AGAIN}
    if names(if_none_match, etag):
        return Response(status_code=304, headers=fresh)
    answer.headers.update(fresh)
    return answer


router.head(
    _PATH, operation_id="head_sample", summary="What GET would answer, without the sample", responses=_RESPONSES
)(get_sample)


def _plan(query: SampleQuery, seed: int, package: ServedPackage, media: Media, parts: Context) -> GeneratePlan:
    """Plan the drawing as /generate would, but name mistakes where this caller made them."""
    kind = kind_of(package.manifest.sample)
    if media not in kind.media:
        raise InvalidRequest(Problem(("path", "form"), f"this package makes {kind.words}; they come as npy"))
    try:
        return plan_generate(query.request(seed), package, kind, media, None, parts.settings, QUERY)
    except InvalidRequest as error:
        raise InvalidRequest(*(Problem(("query", *each.loc[1:]), each.msg) for each in error.problems)) from error
