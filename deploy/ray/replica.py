"""The service under Ray Serve: each replica is a whole service, with its own engine, queue and batches.

    Ray's proxy ─▶ replica: create_app, as in a process of its own
                     Ray starts, checks, scales and replaces it; the lifespan loads packages and drains

Requests need nothing of each other's replicas: the bytes of a sample depend on its package and seed alone.

References:
    Ray Serve, "Set Up FastAPI and HTTP", "Model Multiplexing": https://docs.ray.io/en/latest/serve/
"""

import asyncio
import errno
import os
from contextlib import suppress
from typing import Any

import ray
import structlog
from prometheus_client import CollectorRegistry, start_http_server
from pydantic import BaseModel, Field
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, tracing
from service.access.hosts import why_not_listen
from service.api.context import Context
from service.api.endpoints.health import readyz
from service.app import create_app
from service.errors import NotReady
from service.settings import Settings

# Between looks whether the packages are loaded, which takes seconds.
LOOK_S = 0.05
# Replicas on one machine, of which each takes the next free port for its metrics.
MOST_PORTS = 64
REQUEST_ID = b"x-request-id"

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Arguments(BaseModel):
    """What `args` of a Serve configuration may say; all else is settings of the service, in `env_vars`."""

    models_a_replica: int = Field(
        4,
        ge=1,
        description="models that Ray sends to a replica by serve_multiplexed_model_id, before the oldest leaves",
    )


class ReplicaApp:
    """The application of one replica; ASGI.

    Args:
        app: of the service.
        settings: of the service.
        models: that Ray sends here by `serve_multiplexed_model_id`.
    """

    def __init__(self, app: ASGIApp, settings: Settings, models: int) -> None:
        self._app = app
        self._state: dict[str, Any] = {}  # what the lifespan gives to requests: servers hand it on, Ray does not
        self._timeout_s = settings.timeout_ms / 1000
        self._told = serve.multiplexed(_told, max_num_models_per_replica=models)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Live through the application's life, or answer a request."""
        if scope["type"] == "lifespan":
            self._state = scope["state"]
            await self._app(scope, receive, self._when_ready(send))
            return
        if model := serve.get_multiplexed_model_id():
            await self._hold(model)
        await self._app({**scope, "state": dict(self._state)}, receive, _for_ray(send))

    async def check(self) -> None:
        """Pass while `/readyz` does.

        Raises:
            NotReady: why it does not.
        """
        await readyz(self._context)

    @property
    def _context(self) -> Context:
        context: Context = self._state["context"]
        return context

    def _when_ready(self, send: Send) -> Send:
        """Have the start last until requests can be answered: Ray sends them from its end on."""

        async def send_when_ready(message: Message) -> None:
            while message["type"] == "lifespan.startup.complete":
                try:
                    await self.check()
                    break
                except NotReady:
                    if self._context.lifecycle.state == "failed":
                        raise
                await asyncio.sleep(LOOK_S)
            await send(message)

        return send_when_ready

    async def _hold(self, model: str) -> None:
        """Wait for a model that is loading, load one that is out of memory, and tell Ray's router that it is here.

        Whatever stands in the way, the service answers, in its own words.
        """
        repository = self._context.repository
        with suppress(TimeoutError, NotReady):
            async with asyncio.timeout(self._timeout_s):
                while versions := [each for each in repository.statuses() if each.key.name == model]:
                    there = next((each for each in versions if each.package or each.on_demand), None)
                    if there is not None:
                        if there.on_demand:
                            await repository.demand(there.key)
                        await self._told(model)
                        return
                    if all(each.state != "loading" for each in versions):
                        return
                    await asyncio.sleep(LOOK_S)


async def _told(model: str) -> str:
    """What Ray remembers of a model; its memory is the registry's, and freed by GANYMEDE_MEMORY_BUDGET."""
    return model


def _for_ray(send: Send) -> Send:
    """Send what Ray carries to its proxy: bytes, where a view of an array would do elsewhere, and one request's id.

    The proxy adds the id, which both take from the request, to every answer.
    """

    async def send_for_ray(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [(name, value) for name, value in message["headers"] if name.lower() != REQUEST_ID]
        elif "body" in message:
            message["body"] = bytes(message["body"])
        await send(message)

    return send_for_ray


def replica_settings() -> Settings:
    """The settings of this replica, which computes on as many cores as Ray gave it.

    Raises:
        ValueError: who may use the service is not said.
    """
    settings = Settings()
    if "host" not in settings.model_fields_set:
        raise ValueError("Ray's proxy listens for the service: set GANYMEDE_HOST to its http_options.host")
    refusal = why_not_listen(settings.host, settings.keys_file, settings.without_keys)
    if refusal is not None:
        raise ValueError(f"GANYMEDE_HOST={settings.host!r}: {refusal}.")
    cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 0.0)
    return settings.model_copy(update={"model_threads": settings.model_threads or max(1, int(cores))})


def serve_metrics(host: str, first_port: int, registry: CollectorRegistry) -> None:
    """Serve this replica's metrics on the first free port from GANYMEDE_METRICS_PORT on, on a thread.

    Raises:
        OSError: none of them is free.
    """
    for port in range(first_port, first_port + MOST_PORTS):
        try:
            start_http_server(port, host, registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == first_port + MOST_PORTS - 1:
                raise
        else:
            logger.info("metrics", host=host, port=port, replica=serve.get_replica_context().replica_id.unique_id)
            return


# The service's own limits refuse with 429 and the time after which to ask again: Ray's must not come before them. Nor
# may it kill a replica that drains: GANYMEDE_DRAIN_TIMEOUT_S, the end of the engine, and what Ray waits beside.
@serve.deployment(
    name="ganymede", max_ongoing_requests=1024, graceful_shutdown_timeout_s=45.0, health_check_timeout_s=10.0
)
@serve.ingress()
class Replica:
    """One service, as Ray starts, checks and ends it.

    Args:
        models_a_replica: as in `Arguments`.

    Raises:
        ValueError: the settings do not fit what Ray's proxy does.
    """

    def __init__(self, models_a_replica: int) -> None:
        settings = replica_settings()
        logs.configure(settings.log_format, settings.log_level)
        registry = CollectorRegistry()
        app = create_app(settings, registry, traces=tracing.from_environment(os.environ))
        self._app = ReplicaApp(app, settings, models_a_replica)
        if settings.metrics_port:
            serve_metrics(settings.host, settings.metrics_port, registry)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def check_health(self) -> None:
        """As `ReplicaApp.check`; Ray calls it, and replaces a replica that fails three times in a row."""
        await self._app.check()


def application(arguments: Arguments) -> serve.Application:
    """Make what `serve run` takes."""
    return Replica.bind(arguments.models_a_replica)  # type: ignore[attr-defined]  # the decorator made it a deployment
