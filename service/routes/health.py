"""GET /healthz, /readyz and /metrics: what orchestrators and Prometheus ask.

Alive is not ready: a process that loads or drains lives and must not be restarted, but should get no requests.
"""

from typing import Literal

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field
from starlette.responses import Response

from service.errors import NotReady
from service.routes.context import Parts
from service.routes.documentation import problems
from service.routes.lifecycle import RETRY_AFTER_S

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = Field("alive", description="no answer at all is the other case", examples=["alive"])


class Ready(BaseModel):
    """Every configured model is golden-checked and warm."""

    status: Literal["ready"] = Field(
        "ready", description="anything else is an error with the status 503", examples=["ready"]
    )


@router.get("/healthz", operation_id="healthz", summary="Does the process live?")
async def healthz() -> Alive:
    """Answer as long as the event loop turns."""
    return Alive()


@router.get("/readyz", operation_id="readyz", summary="Can it answer requests?", responses={**problems(503)})
async def readyz(parts: Parts) -> Ready:
    """Answer once every configured model is loaded, golden-checked and warm, and until the process drains."""
    parts.lifecycle.check_serving()
    if not parts.repository.ready:
        raise NotReady("a configured model is still loading", RETRY_AFTER_S)
    return Ready()


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."}},
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Write every series of the service's own registry."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    body = await parts.offload.run(encode, parts.telemetry.registry)
    return Response(body, headers={"content-type": content_type})
