"""The application: the service's parts, put together from settings.

`create_app` only wires: nothing is loaded, no thread or session exists before the lifespan starts, and nothing at all
at import. The lifespan starts the engine, loads the packages in the background (so `/healthz` answers at once and
`/readyz` when they are ready), goes on looking for others, and at the end drains.

    RequestLog → DrainGate → ErrorsToProblems → Entry → BodyLimits → Slots → Cancellation → HeadAsGet → FastAPI → routes

Each layer of this row is pure ASGI and knows its own file only. Small requests need not take it: `express.py`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import onnxruntime
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from service import __version__
from service.core import Core, OpenCore, local_core
from service.errors import GanymedeError
from service.logs import count_dropped
from service.routes import docs, encode, generate, health, models, reconstruct, samples, score
from service.routes.accounts import Accounts
from service.routes.body_budget import BodyBudget
from service.routes.body_limits import BodyLimits, BodyPatience
from service.routes.cancellation import Cancellation
from service.routes.context import Context
from service.routes.documentation import LAYERS_ANSWER, LAYERS_ANSWER_PROBES, DocumentedAPI, problems
from service.routes.entry import AllowedHosts, Entry
from service.routes.express import Express
from service.routes.head_requests import HeadAsGet
from service.routes.lifecycle import DrainGate, Lifecycle, Slots
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
`X-Request-ID`. What no operation lists is answered before there is one: 400 to what is not HTTP, 403 to a `Host` that
the service does not answer for, 408 to headers that come too slowly, 501 and 505 to parts and versions of HTTP that are
not spoken here, 503 to one connection too many.
"""


def create_app(
    settings: Settings, registry: CollectorRegistry | None = None, open_core: OpenCore = local_core
) -> FastAPI:
    """Put the service together.

    Args:
        settings: what the operator chose.
        registry: where metrics are registered; a new one when left out.
        open_core: makes what computes, or finds it in another process.

    Returns:
        The ASGI application. `app.state.lifecycle` says where it stands; `app.state.express` is for a server that reads
        whole requests itself, and answers some of them sooner.
    """
    telemetry = Telemetry(CollectorRegistry() if registry is None else registry)
    count_dropped(telemetry.log_lines_dropped.inc)
    telemetry.build.labels(__version__, onnxruntime.__version__).set(1)
    lifecycle = Lifecycle(settings.max_requests)
    accounts = Accounts(telemetry)
    hosts = AllowedHosts(settings.allowed_hosts, settings.host)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, Context]]:
        async with (
            open_core(settings, telemetry, lifecycle.answered, lifecycle.failed) as core,
            _answering(settings, telemetry, lifecycle, core) as context,
        ):
            yield {"context": context}

    app = DocumentedAPI(
        title="Ganymede",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        servers=[{"url": "."}],  # where the document is: behind a proxy's prefix, too
        docs_url=None,  # ours fetches nothing from other hosts
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name a host, which behind a proxy is the wrong one
        middleware=[Middleware(ErrorsToProblems)],  # before FastAPI's own outermost layer answers a fault in its words
        exception_handlers=dict.fromkeys((GanymedeError, HTTPException, RequestValidationError), answer_error),
    )
    app.surround(
        Middleware(RequestLog, accounts=accounts),
        Middleware(DrainGate, lifecycle=lifecycle),
        Middleware(ErrorsToProblems),
        Middleware(Entry, hosts=hosts),
        Middleware(
            BodyLimits,
            max_bytes=settings.max_body_bytes,
            patience=BodyPatience(settings.header_timeout_s, settings.body_timeout_s),
            budget=BodyBudget(settings.max_bodies_bytes),
            lifecycle=lifecycle,
        ),
        Middleware(Slots, lifecycle=lifecycle),
        Middleware(Cancellation, lifecycle=lifecycle),
        Middleware(HeadAsGet),
    )
    app.state.lifecycle = lifecycle
    app.state.express = Express((generate.EXPRESS,), accounts, lifecycle, hosts, settings.max_body_bytes)
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
async def _answering(
    settings: Settings, telemetry: Telemetry, lifecycle: Lifecycle, core: Core
) -> AsyncIterator[Context]:
    """Give the routes their parts, and at the end drain."""
    offload = Offload(settings.encoder_threads)
    try:
        yield Context(settings, telemetry, lifecycle, core.engine, core.served, offload, core.metrics)
    finally:
        await lifecycle.drain(settings.drain_timeout_s)
        offload.close()
