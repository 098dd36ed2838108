"""What a route is given: the service's parts, as one typed value.

It stands alone so that routes name their needs without knowing how the parts were made. `app.py` makes them when the
process starts and puts them where `context_of` finds them.
"""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from service.engine.port import Engine
from service.packages.repository import Repository
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
    """

    settings: Settings
    telemetry: Telemetry
    lifecycle: Lifecycle
    engine: Engine
    repository: Repository
    offload: Offload


def context_of(request: Request) -> Context:
    """Answer the parts of the service that `request` came to."""
    return cast("Context", request.state.context)


Parts = Annotated[Context, Depends(context_of)]
