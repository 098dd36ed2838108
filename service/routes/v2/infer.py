"""POST /v2/models/{name}/infer: tensors in, tensors out, in JSON, in binary or in both.

The whole flow of a request is the function `_infer`, one line a stage:

    find the graph → read the body → run → write

The samples share runs with everybody else's, whatever route those came by.
"""

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.routes.context import Context, Parts
from service.routes.deadlines import Budget, TimeBudget
from service.routes.documentation import BINARY as BINARY_SCHEMA
from service.routes.documentation import request_body
from service.routes.offload import INLINE_BYTES
from service.routes.v2.answers import BINARY, write_answer
from service.routes.v2.errors import refusals
from service.routes.v2.graphs import Name, ServedGraph, Version, find_graph
from service.routes.v2.requests import LENGTH_HEADER, read_inference
from service.routes.v2.schemas import InferAnswer, InferRequest

_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "model": InferAnswer,
        "description": "The outputs asked for: JSON, or, where one of them is wanted as binary data, JSON with their "
        "bytes behind it.",
        "content": {BINARY: BINARY_SCHEMA},
        "headers": {
            LENGTH_HEADER: {"schema": {"type": "integer"}, "description": "bytes of the JSON, where others follow it"}
        },
    },
    **refusals(400, 404, 415, 504),
}
_BODY = request_body(InferRequest, required=True, others={BINARY: BINARY_SCHEMA}) | {
    "parameters": [
        {
            "name": LENGTH_HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "bytes of the JSON, where blobs follow it; 0 where the body is one sample of the one input",
        }
    ]
}

router = APIRouter(prefix="/v2/models/{name}", tags=["open inference protocol"])


@router.post(
    "/infer",
    operation_id="v2_infer",
    summary="Run a graph",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def infer(name: Name, request: Request, parts: Parts, budget: Budget) -> Response:
    """Run a graph of the newest version.

    Inputs and outputs are the graph's own, as its metadata states them. A body is JSON; with the header
    `Inference-Header-Content-Length`, that many bytes are JSON and the tensors that state a `binary_data_size` follow.
    Bodies may come and go as gzip or deflate. The parameters `seed` and `n` draw samples as /generate does.
    """
    return await _infer(request, find_graph(parts.repository, name), parts, budget)


@router.post(
    "/versions/{version}/infer",
    operation_id="v2_infer_version",
    summary="Run a graph of one version",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def infer_version(name: Name, version: Version, request: Request, parts: Parts, budget: Budget) -> Response:
    """Run a graph of one version; as without a version otherwise."""
    return await _infer(request, find_graph(parts.repository, name, version), parts, budget)


async def _infer(request: Request, graph: ServedGraph, parts: Context, budget: TimeBudget) -> Response:
    body = await request.body()
    inference = await parts.offload.run_sized(
        _unpacked_bytes(request, body), read_inference, body, request.headers, graph, parts.settings
    )
    with budget.spend() as left_s:
        timeout_s = min(left_s(), inference.job.timeout_s or left_s())
        outputs = await parts.engine.infer(replace(inference.job, timeout_s=timeout_s))
    accepted = request.headers.get("accept-encoding", "")
    size = sum(array.nbytes for array in outputs.values()) if not accepted else INLINE_BYTES + 1
    answer = await parts.offload.run_sized(size, write_answer, inference, outputs, accepted)
    return Response(answer.body, media_type=answer.media_type, headers=answer.headers)


def _unpacked_bytes(request: Request, body: bytes) -> int:
    """How much there may be to read; a packed body may hold a thousand times its size."""
    return len(body) if "content-encoding" not in request.headers else INLINE_BYTES + 1
