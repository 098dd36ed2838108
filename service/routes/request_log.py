"""The outermost layer: names the request, times it, counts it, and writes its one log line.

It stands outside every other layer so that it sees each answer whoever gave it. It is pure ASGI, since a wrapper
that buffers or copies the stream would hide disconnects from the layers inside. Metric labels are the route's
template and the status, never the path: a scanner cannot grow the number of series.

References:
    W3C, "Trace Context", 2021, section 3.2 (traceparent).
"""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.routes.exchange import Exchange, attach
from service.routes.lifecycle import PROBES
from service.telemetry import Telemetry

# What a proxy or a client library makes of an id; anything else could forge log lines or headers.
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# The label of paths that no route has.
UNKNOWN_ROUTE = "none"

logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class RequestLog:
    """Names, times, counts and logs each request.

    Args:
        app: the layer inside.
        telemetry: where requests are counted.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _exchange(Headers(scope=scope))
        attach(scope, exchange)

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = exchange.request_id
            await send(message)

        names = {"request_id": exchange.request_id}
        if exchange.trace_id:
            names["trace_id"] = exchange.trace_id
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(**names), self._telemetry.requests_in_flight.track_inprogress():
            try:
                await self._app(scope, receive, named_send)
            finally:
                self._account(scope, exchange, time.monotonic() - began)

    def _account(self, scope: Scope, exchange: Exchange, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._telemetry.requests.labels(route, str(exchange.status)).inc()
        self._telemetry.request_seconds.labels(route).observe(duration_s)
        write = logger.debug if scope["path"] in PROBES else logger.info
        write(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=exchange.status,
            duration_ms=round(duration_s * 1000, 3),
        )


def _exchange(headers: Headers) -> Exchange:
    given = headers.get("x-request-id", "")
    traced = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return Exchange(
        request_id=given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
        trace_id=traced.group(1) if traced else None,
    )
