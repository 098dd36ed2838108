"""What a service has once, however many processes answer its requests: an engine, the packages that it serves, metrics.

    app ─▶ Core ── local_core: made here, in the process that answers
                └─ `processes/api.py`: a channel to the process that has it

`computing` is that one thing itself: an engine and the repository that loads into it, from start to end. It stands
between the application and its parts so that neither routes nor packages know in which process they are.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from service.engine.batch_policy import BatchLimits
from service.engine.local import LocalEngine
from service.engine.port import Engine
from service.engine.runtime import Runtime
from service.errors import GanymedeError
from service.packages.repository import Repository
from service.packages.served import Served
from service.settings import Settings
from service.telemetry import Telemetry

# Nothing is in flight when the engine stops: its threads need only end the run they are in.
ENGINE_STOP_S = 5.0

Answered = Callable[[], Awaitable[None]]
Failed = Callable[[], None]

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Core:
    """What every process of a service shares.

    Attributes:
        engine: what computes.
        served: which packages.
        metrics: answers the registry of the whole service; to write it takes milliseconds.
    """

    engine: Engine
    served: Served
    metrics: Callable[[], Awaitable[CollectorRegistry]]


OpenCore = Callable[[Settings, Telemetry, Answered, Failed], AbstractAsyncContextManager[Core]]


@asynccontextmanager
async def computing(
    settings: Settings, telemetry: Telemetry, answered: Answered, failed: Failed
) -> AsyncIterator[tuple[Engine, Repository]]:
    """Start an engine, load packages into it in the background, and at the end free all of it.

    Args:
        settings: what the operator chose.
        telemetry: where it counts.
        answered: waits until every request that is being answered now has been.
        failed: told when a configured model cannot be served.
    """
    runtime = Runtime(
        settings.device, settings.model_threads, settings.reproducibility, settings.backend, settings.precision
    )
    limits = BatchLimits(
        settings.max_batch_samples, settings.queue_samples, settings.request_queue_samples, settings.queue_wait_s
    )
    engine = LocalEngine(runtime, limits, telemetry)
    repository = Repository(settings.models_dir, engine, settings, telemetry, answered)
    loading = asyncio.create_task(_load(repository, failed, settings.rescan_interval_s))
    try:
        yield engine, repository
    finally:
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await repository.close()
        await engine.drain(ENGINE_STOP_S)


@asynccontextmanager
async def local_core(
    settings: Settings, telemetry: Telemetry, answered: Answered, failed: Failed
) -> AsyncIterator[Core]:
    """Compute in this process; as `computing`."""

    async def metrics() -> CollectorRegistry:
        return telemetry.registry

    async with computing(settings, telemetry, answered, failed) as (engine, repository):
        yield Core(engine, repository, metrics)


async def _load(repository: Repository, failed: Failed, rescan_interval_s: float) -> None:
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
