"""What is recorded of every request: how many there are, how long each took, its one log line.

Metric labels are the route's template and the status, never the path: a scanner cannot grow the number of series.
"""

import time

import structlog

from service.metrics import Telemetry
from service.server.lifecycle import PROBES
from service.server.request_info import RequestInfo

# The label of paths that no route has.
UNKNOWN_ROUTE = "none"
MS_PER_S = 1000

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class RequestLog:
    """Counts, times and logs requests.

    Args:
        telemetry: where they are counted.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._series = telemetry.requests
        self._rejected = telemetry.rejected
        self._keys = telemetry.keys

    def begin(self) -> float:
        """Count a request that arrived.

        Returns:
            When, in monotonic seconds, for `end`.
        """
        self._series.begin()
        return time.monotonic()

    def end(self, method: str, path: str, route: str, info: RequestInfo, began: float, ended: float) -> None:
        """Record a request that ended, however it did.

        Args:
            method: HTTP's.
            path: for the log.
            route: template of the route that answered, for the metrics.
            info: holds the status.
            began: what `begin` returned.
            ended: on the same clock.
        """
        duration_s = ended - began
        self._series.end(route, info.status, duration_s)
        if info.key is not None:
            self._keys.answered(info.key.name)
        write = logger.debug if path in PROBES else logger.info
        duration_ms = round(duration_s * MS_PER_S, 3)
        if info.reason is None:
            write("request", method=method, path=path, status=info.status, duration_ms=duration_ms)
        else:
            write("request", method=method, path=path, status=info.status, duration_ms=duration_ms, reason=info.reason)

    def refused(self, reason: str) -> None:
        """Count a request that is refused before the engine sees it: `max_requests` or `draining`."""
        self._rejected.labels(reason).inc()
