"""The application: the service's parts, put together from settings.

`create_app` only wires: nothing is loaded, no thread or session exists before the lifespan starts, and nothing at all
at import. The lifespan starts the engine, loads the packages in the background (so `/healthz` answers at once and
`/readyz` when they are ready), goes on looking for others, and at the end drains.

    RequestMiddleware ─▶ an operation of the data plane
                  └────▶ FastAPI: the control plane, health, metrics, documentation, the playground
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnxruntime
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from service import __version__
from service.access.cors import Origins
from service.access.gate import Gate
from service.access.hosts import AllowedHosts
from service.access.key_file import KeyFile
from service.access.quotas import LocalQuotas, Quotas
from service.api.context import Context, ThreadPool
from service.api.endpoints import encode, generate, health, models, reconstruct, reference, sample, score
from service.api.operations import Operations
from service.api.schemas.requests import GenerateRequest, SamplesRequest
from service.api.v2 import infer, repository, server
from service.api.v2 import models as v2_models
from service.api.v2 import schemas as v2_schemas
from service.api.v2.schemas import refusals
from service.engine.backends import cuda
from service.engine.config import Runtime, memory_limit_bytes
from service.engine.core.engine import LocalEngine
from service.engine.core.live_scoring import LiveScoring
from service.engine.interface import Engine
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import GanymedeError
from service.logs import count_dropped
from service.metrics import ProcessMetrics, Telemetry
from service.packages.drift import DriftMonitor
from service.packages.registry import Repository
from service.packages.repository.mirror import Mirror
from service.packages.repository.repository import LocalRepository
from service.packages.repository.scan import LoadPolicy
from service.playground.pages import FOLDERS as PLAYGROUND_FOLDERS
from service.playground.pages import Playground
from service.server import openapi
from service.server.bodies import BodyBudget, BodyLimits
from service.server.lifecycle import METRICS, PROBES, Lifecycle
from service.server.middleware import RequestMiddleware
from service.server.openapi import LAYERS_ANSWER, LAYERS_ANSWER_PROBES, DocumentedAPI, problems
from service.server.problems import ProblemDetails, answer_error
from service.server.request_log import RequestLog
from service.settings import Settings
from service.tracing import Traces

# Nothing is in flight when the engine stops: its threads need only end the run they are in.
ENGINE_STOP_S = 5.0
DEVICE_LOST = 1
# Beyond the time to drain: runs on a lost device fail at once, unless its driver hangs.
LOST_DEVICE_S = 10.0

Answered = Callable[[], Awaitable[None]]
Failed = Callable[[], None]

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Core:
    """What every process of a service shares.

    Attributes:
        metrics: returns the registry of the whole service; to write it takes milliseconds.
    """

    engine: Engine
    served: Repository
    quotas: Quotas
    metrics: Callable[[], Awaitable[CollectorRegistry]]


OpenCore = Callable[[Settings, Telemetry, Answered, Failed], AbstractAsyncContextManager[Core]]


def open_engine(settings: Settings, telemetry: Telemetry, scoring: LiveScoring | None = None) -> LocalEngine:
    """Make an engine, without a package."""
    runtime = Runtime(
        settings.device,
        settings.model_threads,
        settings.reproducibility,
        settings.backend,
        settings.precision,
        binding=settings.device_binding == "on",
        cuda_graph=settings.device_graph == "on",
        pinned=settings.device_pinned == "on",
    )
    limits = BatchLimits(
        settings.max_batch_samples,
        settings.queue_samples,
        settings.request_queue_samples,
        settings.queue_wait_s,
        settings.device_slots,
    )
    return LocalEngine(runtime, limits, telemetry, scoring)


@asynccontextmanager
async def computing(
    settings: Settings, telemetry: Telemetry, answered: Answered, failed: Failed
) -> AsyncIterator[tuple[Engine, LocalRepository]]:
    """Start an engine, load packages into it in the background, and at the end free all of it.

    Args:
        settings: of the service.
        telemetry: of this process.
        answered: waits until every request that is being answered now has been.
        failed: told when a configured model cannot be served, or the device is lost.
    """
    monitor = DriftMonitor(telemetry.drift)
    scoring = LiveScoring(settings.drift_share, monitor)
    engine = open_engine(settings, telemetry, scoring)
    folder, mirror = settings.models_dir, None
    if isinstance(folder, str):
        mirror = Mirror(folder, settings.cache_dir, LoadPolicy(settings), telemetry)
        folder = mirror.folder
    repository = LocalRepository(folder, engine, settings, telemetry, answered, mirror)
    if scoring.is_on:
        repository.add_listener(monitor)
    _describe(telemetry.processes, repository, settings)
    lost = asyncio.Event()
    cuda.PROCESS.on_lost = partial(_end, asyncio.get_running_loop(), (lost.set, failed), settings.drain_timeout_s)
    loading = asyncio.create_task(_load(repository, failed, settings.rescan_interval_s))
    try:
        yield engine, repository
    finally:
        cuda.PROCESS.on_lost = None
        if lost.is_set():
            os._exit(DEVICE_LOST)  # to free sessions of a device that is lost may hang or abort
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await repository.close()
        await engine.drain(ENGINE_STOP_S)


def _describe(processes: ProcessMetrics, repository: Repository, settings: Settings) -> None:
    """Set the facts that alerts compare with."""
    processes.configured.set(1 + settings.api_workers if settings.api_workers > 1 else 1)
    processes.memory_limit_bytes.set(memory_limit_bytes())
    processes.ready.set_function(lambda: repository.ready)
    processes.device_unusable.set_function(lambda: cuda.PROCESS.is_unusable)


def _end(loop: asyncio.AbstractEventLoop, told: Iterable[Callable[[], None]], drain_timeout_s: float) -> None:
    """Have the process end because its device is lost: by the event loop, or without it where that hangs."""
    logger.error("the device is lost, and the process ends", exit_code=DEVICE_LOST)
    limit = threading.Timer(drain_timeout_s + LOST_DEVICE_S, os._exit, [DEVICE_LOST])
    limit.daemon = True
    limit.start()
    for each in told:
        with suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(each)


@asynccontextmanager
async def local_core(
    settings: Settings, telemetry: Telemetry, answered: Answered, failed: Failed
) -> AsyncIterator[Core]:
    """Compute in this process; as `computing`."""

    async def metrics() -> CollectorRegistry:
        return telemetry.registry

    async with computing(settings, telemetry, answered, failed) as (engine, repository):
        yield Core(engine, repository, LocalQuotas(), metrics)


async def _load(repository: LocalRepository, failed: Failed, rescan_interval_s: float) -> None:
    """Load what the folder holds, and then whatever comes to it."""
    try:
        await repository.load_all()
    except GanymedeError as error:
        logger.error("cannot start", reason=str(error))  # noqa: TRY400  (the reason says it all)
        failed()
    except Exception:
        logger.exception("cannot start")
        failed()
    else:
        logger.info("packages loaded", found=len(repository.statuses()))
        if rescan_interval_s:
            await repository.watch(rescan_interval_s)


DESCRIPTION = """\
Samples from generative adversarial networks, and what their discriminators and encoders say of samples.

A seed is a promise: the same package, seed and parameters give the same bytes, alone or among thousands. Every error
is RFC 9457 `application/problem+json`, under `/v2` the inference protocol's `{"error": "…"}`; every answer carries
`X-Request-ID`. What no operation lists is answered before there is one: 400 to what is not HTTP, 403 to a `Host` that
the service does not answer for, 408 to headers that come too slowly, 501 and 505 to parts and versions of HTTP that are
not spoken here, 503 to one connection too many.
"""

API = (
    generate.router,
    sample.router,
    score.router,
    encode.router,
    reconstruct.router,
    reference.router,
    models.router,
)
PROTOCOL = (server.router, server.statistics_router, v2_models.router, infer.router, repository.router)


def create_app(
    settings: Settings,
    registry: CollectorRegistry | None = None,
    open_core: OpenCore = local_core,
    traces: Traces | None = None,
) -> FastAPI:
    """Put the service together.

    Args:
        settings: of the service.
        registry: where metrics are registered; a new one when left out.
        open_core: makes what computes, or finds it in another process.
        traces: makes spans of requests, where there shall be any; closed at the end of the lifespan.

    Returns:
        The ASGI application. `app.state.lifecycle` says where it stands, `app.state.log` records requests that never
        reach it.
    """
    telemetry = Telemetry(CollectorRegistry() if registry is None else registry)
    count_dropped(telemetry.log_lines_dropped.inc)
    telemetry.build.labels(__version__, onnxruntime.__version__).set(1)
    log = RequestLog(telemetry)
    lifecycle = Lifecycle(settings.max_requests, log.refused)
    gate = _gate(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, Context]]:
        async with (
            nullcontext() if traces is None else aclosing(traces),
            nullcontext() if gate is None else gate.file.watched(),
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
        openapi_url="/openapi.json" if settings.docs == "on" else None,
        docs_url=None,  # ours fetches nothing from other hosts
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # ours are these alone
        redirect_slashes=False,  # a redirect would name a host, which behind a proxy is the wrong one
        exception_handlers=dict.fromkeys(
            (GanymedeError, HTTPException, RequestValidationError, Exception), answer_error
        ),
    )
    app.state.lifecycle = lifecycle
    app.state.log = log
    app.referenced = (GenerateRequest, SamplesRequest, ProblemDetails, *v2_schemas.BODIES)
    layers: tuple[int, ...] = LAYERS_ANSWER
    if gate is not None:
        app.asks_for_keys, app.open_paths = True, gate.open_paths
        layers = (401, *layers)
    for router in API:
        app.include_router(router, responses=problems(*layers))
    for router in PROTOCOL:
        app.include_router(router, responses=refusals(*layers))
    app.include_router(health.router, responses=problems(*LAYERS_ANSWER_PROBES))
    if settings.metrics != "off":
        app.include_router(health.metrics_router, responses=problems(*LAYERS_ANSWER_PROBES))
    if settings.docs == "on":
        app.include_router(openapi.router)
        app.mount(openapi.ASSETS, openapi.assets())
    if settings.playground == "on":
        app.include_router(Playground().router())
    app.surround(
        lambda inner: RequestMiddleware(
            inner,
            Operations((*API, *PROTOCOL)).find,
            log,
            lifecycle,
            AllowedHosts(settings.allowed_hosts, settings.host),
            BodyLimits(settings.max_body_bytes, settings.header_timeout_s, settings.body_timeout_s),
            BodyBudget(settings.max_bodies_bytes),
            gate=gate,
            origins=Origins(settings.cors_origins) if settings.cors_origins else None,
            metrics_port=settings.metrics_port or None,
            traces=traces,
            root_path=settings.root_path,
        )
    )
    return app


def _gate(settings: Settings) -> Gate | None:
    """Make what asks for keys; None where callers need none.

    `/metrics` is open as health is: it tells how much is asked for, by names that the operator chose, and no sample.
    """
    if not settings.keys_file:
        return None
    open_paths = {*PROBES, "/", *openapi.PATHS} - ({METRICS} if settings.metrics == "key" else set())
    return Gate(KeyFile(Path(settings.keys_file)), open_paths, openapi.FOLDERS + PLAYGROUND_FOLDERS)


@asynccontextmanager
async def _answering(
    settings: Settings, telemetry: Telemetry, lifecycle: Lifecycle, core: Core
) -> AsyncIterator[Context]:
    """Give the routes their parts, and at the end drain."""
    offload = ThreadPool(settings.encoder_threads)
    try:
        yield Context(settings, telemetry, lifecycle, core.engine, core.served, offload, core.quotas, core.metrics)
    finally:
        await lifecycle.drain(settings.drain_timeout_s)
        offload.close()
