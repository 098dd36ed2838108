"""What a route is given: the service's parts, as one typed value.

It stands alone so that routes name their needs without knowing how the parts were made. `app.py` makes them when the
process starts and puts them where `context_of` finds them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from service.engine.port import Engine
from service.packages.served import Served
from service.routes.lifecycle import Lifecycle
from service.routes.offload import Offload
from service.settings import Settings
from service.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a running service.

    Attributes:
        settings: what the operator chose.
        telemetry: where things are counted.
        lifecycle: where the process stands.
        engine: what computes.
        repository: what is served.
        offload: threads for parsing, decoding and encoding.
        metrics: answers the registry of the whole service.
    """

    settings: Settings
    telemetry: Telemetry
    lifecycle: Lifecycle
    engine: Engine
    repository: Served
    offload: Offload
    metrics: Callable[[], Awaitable[CollectorRegistry]]


def context_of(scope: Scope) -> Context:
    """Answer the parts of the service that a request came to."""
    return cast("Context", scope["state"]["context"])


async def _parts(request: Request) -> Context:
    """As `context_of`, but a coroutine: FastAPI calls plain functions on a thread."""
    return context_of(request.scope)


Parts = Annotated[Context, Depends(_parts)]
