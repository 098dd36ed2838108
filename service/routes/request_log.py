"""The outermost layer: names the request, times it, counts it, and writes its one log line.

It stands outside every other layer so that it sees each answer whoever gave it. It is pure ASGI, since a wrapper
that buffers or copies the stream would hide disconnects from the layers inside. Metric labels are the route's
template and the status, never the path: a scanner cannot grow the number of series.

References:
    W3C, "Trace Context", 2021, section 3.2 (traceparent).
"""

import os
import re
import time
from functools import cache

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import naming
from service.routes.exchange import Exchange, attach
from service.routes.lifecycle import PROBES
from service.telemetry import Telemetry

# What a proxy or a client library makes of an id; anything else could forge log lines or headers.
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# As many as a UUID has.
REQUEST_ID_BYTES = 16
# The label of paths that no route has.
UNKNOWN_ROUTE = "none"

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class RequestLog:
    """Names, times, counts and logs each request.

    Args:
        app: the layer inside.
        telemetry: where requests are counted.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._in_flight = telemetry.requests_in_flight
        # Finding a series by its labels costs more than counting; there are as few as there are routes and statuses.
        self._count = cache(telemetry.requests.labels)
        self._seconds = cache(telemetry.request_seconds.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _exchange(scope)
        attach(scope, exchange)

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.started = True
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", exchange.request_id.encode())]
            await send(message)

        began = time.monotonic()
        self._in_flight.inc()
        with naming(exchange.names):
            try:
                await self._app(scope, receive, named_send)
            finally:
                self._in_flight.dec()
                self._account(scope, exchange, time.monotonic() - began)

    def _account(self, scope: Scope, exchange: Exchange, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._count(route, exchange.status).inc()
        self._seconds(route).observe(duration_s)
        write = logger.debug if scope["path"] in PROBES else logger.info
        write(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=exchange.status,
            duration_ms=round(duration_s * 1000, 3),
        )


def _exchange(scope: Scope) -> Exchange:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    given = headers.get("x-request-id", "")
    traced = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return Exchange(
        request_id=given if REQUEST_ID.fullmatch(given) else os.urandom(REQUEST_ID_BYTES).hex(),
        headers=headers,
        trace_id=traced.group(1) if traced else None,
    )
