"""What is written of every request, whichever way it took: how many there are, how long each took, its one log line.

Metric labels are the route's template and the status, never the path: a scanner cannot grow the number of series.
"""

import time
from functools import cache

import structlog

from service.routes.exchange import Exchange
from service.routes.lifecycle import PROBES
from service.telemetry import Telemetry

MS_PER_S = 1000

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Accounts:
    """Counts, times and logs requests.

    Args:
        telemetry: where they are counted.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._in_flight = telemetry.requests_in_flight
        # Finding a series by its labels costs more than counting; there are as few as there are routes and statuses.
        self._count = cache(telemetry.requests.labels)
        self._seconds = cache(telemetry.request_seconds.labels)

    def begin(self) -> float:
        """Count a request that arrived; returns when, for `end`."""
        self._in_flight.inc()
        return time.monotonic()

    def end(self, method: str, path: str, route: str, exchange: Exchange, began: float, ended: float) -> None:
        """Account for a request that ended, however it did.

        Args:
            method: of the request.
            path: of the request, for the log.
            route: template of the route that answered, for the metrics.
            exchange: how it ended.
            began: what `begin` returned.
            ended: when it ended, on the same clock.
        """
        duration_s = ended - began
        self._in_flight.dec()
        self._count(route, exchange.status).inc()
        self._seconds(route).observe(duration_s)
        write = logger.debug if path in PROBES else logger.info
        write("request", method=method, path=path, status=exchange.status, duration_ms=round(duration_s * MS_PER_S, 3))
