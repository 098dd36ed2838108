"""The application: the service's parts, put together from settings.

`create_app` only wires: nothing is loaded, no thread or session exists before the lifespan starts, and nothing at all
at import. The lifespan starts the engine, loads the packages in the background (so `/healthz` answers at once and
`/readyz` when they are ready), goes on looking for others, and at the end drains.

    RequestLog → DrainGate → ErrorsToProblems → BodyLimits → Cancellation → routes

Each layer of this row is pure ASGI and knows its own file only.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import onnxruntime
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from service import __version__
from service.engine.batch_policy import BatchLimits
from service.engine.local import LocalEngine
from service.engine.session import Runtime
from service.errors import GanymedeError
from service.packages.repository import Repository
from service.routes import docs, encode, generate, health, models, reconstruct, samples, score
from service.routes.body_limits import BodyLimits
from service.routes.cancellation import Cancellation
from service.routes.context import Context
from service.routes.documentation import LAYERS_ANSWER, LAYERS_ANSWER_PROBES, DocumentedAPI, problems
from service.routes.lifecycle import DrainGate, Lifecycle
from service.routes.offload import Offload
from service.routes.problems import ErrorsToProblems, ProblemDetails, answer_error
from service.routes.request_log import RequestLog
from service.routes.schemas import GenerateRequest, SamplesRequest
from service.routes.v2 import infer, repository, server, statistics
from service.routes.v2 import models as v2_models
from service.routes.v2 import schemas as v2_schemas
from service.routes.v2.errors import refusals
from service.settings import Settings
from service.telemetry import Telemetry

DESCRIPTION = """\
Samples from generative adversarial networks, and what their discriminators and encoders say of samples.

A seed is a promise: the same package, seed and parameters give the same bytes, alone or among thousands. Every error
is RFC 9457 `application/problem+json`, under `/v2` the inference protocol's `{"error": "…"}`; every answer carries
`X-Request-ID`. What no operation lists, a connection answers before there is one: 400 to what is not HTTP, 408 and 431
to headers that come too slowly or do not end, 503 to one connection too many.
"""

# Nothing is in flight when the engine stops: its threads need only end the run they are in.
ENGINE_STOP_S = 5.0

logger: structlog.stdlib.BoundLogger = structlog.get_logger()


def create_app(settings: Settings, registry: CollectorRegistry | None = None) -> FastAPI:
    """Put the service together.

    Args:
        settings: what the operator chose.
        registry: where metrics are registered; a new one when left out.

    Returns:
        The ASGI application. `app.state.lifecycle` says where it stands.
    """
    telemetry = Telemetry(CollectorRegistry() if registry is None else registry)
    telemetry.build.labels(__version__, onnxruntime.__version__).set(1)
    lifecycle = Lifecycle(settings.max_requests)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, Context]]:
        async with _running(settings, telemetry, lifecycle) as context:
            yield {"context": context}

    app = DocumentedAPI(
        title="Ganymede",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # ours fetches nothing from other hosts
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name a host, which behind a proxy is the wrong one
        middleware=[
            Middleware(RequestLog, telemetry=telemetry),
            Middleware(DrainGate, lifecycle=lifecycle),
            Middleware(ErrorsToProblems),
            Middleware(BodyLimits, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s),
            Middleware(Cancellation, lifecycle=lifecycle),
        ],
        exception_handlers=dict.fromkeys((GanymedeError, HTTPException, RequestValidationError), answer_error),
    )
    app.state.lifecycle = lifecycle
    app.referenced = (GenerateRequest, SamplesRequest, ProblemDetails, *v2_schemas.BODIES)
    for module in (generate, samples, score, encode, reconstruct, models):
        app.include_router(module.router, responses=problems(*LAYERS_ANSWER))
    for module in (server, statistics, v2_models, infer, repository):
        app.include_router(module.router, responses=refusals(*LAYERS_ANSWER))
    app.include_router(health.router, responses=problems(*LAYERS_ANSWER_PROBES))
    app.include_router(docs.router)
    app.mount(docs.ASSETS, docs.assets())
    return app


@asynccontextmanager
async def _running(settings: Settings, telemetry: Telemetry, lifecycle: Lifecycle) -> AsyncIterator[Context]:
    """Start the service's parts, load in the background, and at the end drain and free them."""
    runtime = Runtime(settings.device, settings.model_threads, settings.reproducibility)
    limits = BatchLimits(settings.max_batch_samples, settings.queue_samples, settings.request_queue_samples)
    engine = LocalEngine(runtime, limits, telemetry)
    repository = Repository(settings.models_dir, engine, settings, telemetry, lifecycle.answered)
    offload = Offload(settings.encoder_threads)
    loading = asyncio.create_task(_load(repository, lifecycle, settings.rescan_interval_s))
    try:
        yield Context(settings, telemetry, lifecycle, engine, repository, offload)
    finally:
        await lifecycle.drain(settings.drain_timeout_s)
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await repository.close()
        await engine.drain(ENGINE_STOP_S)
        offload.close()


async def _load(repository: Repository, lifecycle: Lifecycle, rescan_interval_s: float) -> None:
    """Load what the folder holds, and then whatever comes to it."""
    try:
        await repository.load_all()
    except GanymedeError as error:
        logger.error("cannot start", reason=str(error))  # noqa: TRY400  (the reason says it all)
        lifecycle.failed()
    except Exception:
        logger.exception("cannot start")
        lifecycle.failed()
    else:
        logger.info("packages loaded", found=len(repository.statuses()))
        if rescan_interval_s:
            await repository.watch(rescan_interval_s)
