"""Makes the request middleware around a test's application, with small limits."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Scope

from service.access.hosts import AllowedHosts
from service.metrics import Telemetry
from service.server.bodies import BodyBudget, BodyLimits
from service.server.lifecycle import Lifecycle
from service.server.middleware import Operation, RequestMiddleware
from service.server.request_log import RequestLog
from service.tracing import Traces

MAX_BYTES = 1000
BODY_TIMEOUT_S = 0.3


def nothing(_: Scope) -> None:
    """Find no operation."""


def middleware(
    app: ASGIApp,
    find: Callable[[Scope], Operation | None] = nothing,
    lifecycle: Lifecycle | None = None,
    log: RequestLog | None = None,
    traces: Traces | None = None,
) -> RequestMiddleware:
    """Wrap an application in the middleware."""
    return RequestMiddleware(
        app,
        find,
        log or RequestLog(Telemetry(CollectorRegistry())),
        lifecycle or Lifecycle(),
        AllowedHosts("", "127.0.0.1"),
        BodyLimits(MAX_BYTES, BODY_TIMEOUT_S, BODY_TIMEOUT_S),
        BodyBudget(MAX_BYTES),
        traces=traces,
    )
