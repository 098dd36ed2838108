"""GET /healthz, /readyz and /metrics: what orchestrators and Prometheus ask.

Alive is not ready: a process that loads or drains lives and must not be restarted, but should get no requests. Nor
should one whose device has stopped answering, which nothing but a sample can tell.
"""

import asyncio
from typing import Literal

import numpy as np
from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field
from starlette.responses import Response

from service.api.context import Parts
from service.engine.interface import Engine, GenerateJob
from service.errors import DeadlinePassed, NotFound, NotReady, QueueFull, SessionFailed
from service.packages.registry import Repository, ServedPackage, State
from service.server.lifecycle import METRICS, RETRY_AFTER_S
from service.server.openapi import problems

# One sample takes milliseconds, behind the batch in progress at most; a device that hangs never gives it.
DEVICE_TIMEOUT_S = 5.0

router = APIRouter(tags=["operation"])
metrics_router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = Field("alive", description="no answer at all is the other case", examples=["alive"])


class Packages(BaseModel):
    """Where each package stands; only those of configured models make `/readyz` wait."""

    loading: list[str] = Field(description="being loaded, or waiting for it", examples=[["ring/1"]])
    ready: list[str] = Field(description="answer requests", examples=[["mnist/4"]])
    failed: list[str] = Field(description="refused; GET /models says why", examples=[[]])
    unloaded: list[str] = Field(
        description="not in memory, or leaving it; GET /models says which are loaded on demand", examples=[[]]
    )


class Ready(BaseModel):
    """Every configured model is golden-checked and warm."""

    status: Literal["ready"] = Field(
        "ready", description="anything else is an error with the status 503", examples=["ready"]
    )
    packages: Packages = Field(description="where each package stands")


@router.get("/healthz", operation_id="healthz", summary="Does the process live?")
async def healthz() -> Alive:
    """Answer as long as the event loop turns."""
    return Alive()


@router.get("/readyz", operation_id="readyz", summary="Can it answer requests?", responses={**problems(503)})
async def readyz(parts: Parts) -> Ready:
    """Answer while every configured model is golden-checked and warm, its device draws, and the process stays."""
    with parts.lifecycle.request():
        unready = parts.repository.unready
        if unready:
            raise NotReady(
                f"a configured model is still loading, or was unloaded: {', '.join(unready)}",
                RETRY_AFTER_S,
                _states(parts.repository).model_dump(),
            )
        packages = [parts.repository.find(name) for name in parts.repository.configured]
        await asyncio.gather(*(_draw_one(package, parts.engine) for package in packages))
    return Ready(packages=_states(parts.repository))


def _states(repository: Repository) -> Packages:
    """Sort the packages by where they stand."""

    def of(*states: State) -> list[str]:
        return [str(status.key) for status in repository.statuses() if status.state in states]

    return Packages(
        loading=of("loading"), ready=of("ready"), failed=of("refused"), unloaded=of("unloaded", "unloading")
    )


async def _draw_one(package: ServedPackage, engine: Engine) -> None:
    """Have a package's device draw one sample.

    Raises:
        NotReady: it fails, or takes too long.
    """
    job = GenerateJob(
        package=package.key,
        seeds=np.zeros(1, np.uint64),
        conditions=None if package.manifest.condition is None else np.zeros(1, np.int64),
        want_pixels=False,
        want_sample=True,
        timeout_s=DEVICE_TIMEOUT_S,
    )
    try:
        await engine.submit(job)
    except QueueFull:
        return  # it has all it can do, and does it
    except (DeadlinePassed, SessionFailed, NotFound) as error:
        raise NotReady(f"the device does not answer for {package.key}", RETRY_AFTER_S) from error


@metrics_router.get(
    METRICS,
    operation_id="metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."}},
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Write every series of the service, whichever of its processes counts it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    body = await parts.offload.run(encode, await parts.metrics())
    return Response(body, headers={"content-type": content_type})
