"""Open loop: requests at a constant rate, independent of the server's responses.

A request is timed from the moment at which it was *due*, not from when a connection was free: a server that stops for a
second delays all requests due in it, and each of them counts (else coordinated omission hides the stop).

References:
    Schroeder, Wierman and Harchol-Balter, Open Versus Closed: A Cautionary Tale (2006).
    Tene, How NOT to Measure Latency (2015): coordinated omission.
"""

import asyncio
import time
from collections import deque
from functools import partial
from itertools import count

from benchmarks.load.closed_loop import Load, LoadFailed, Work
from benchmarks.load.connection import Connection, connect, encode, exactly
from benchmarks.results import quantile

# Enough that one is free unless the server is overloaded.
CONNECTIONS = 64
# A server with unanswered requests so long after the last was due does not keep the rate.
PATIENCE_S = 10.0


def due_times(rate_per_s: float, duration_s: float) -> list[float]:
    """Scheduled times, in seconds from the start.

    Args:
        rate_per_s: above 0.
        duration_s: at least 1 / `rate_per_s`.

    Returns:
        Equal distances of 1 / `rate_per_s`, the first at 0, the last before `duration_s`.
    """
    return [place / rate_per_s for place in range(int(rate_per_s * duration_s))]


def run(work: Work, rate_per_s: float, duration_s: float) -> Load:
    """Load a server at a constant rate.

    Args:
        work: the request.
        rate_per_s: requests a second.
        duration_s: of the load.

    Raises:
        LoadFailed: a request failed, or was not answered within `PATIENCE_S` of the end.
    """
    cpu_s = time.process_time()
    began_s = time.monotonic()
    times = exactly(_Stream(work, due_times(rate_per_s, duration_s)).run())
    return load_of(times, time.monotonic() - began_s, time.process_time() - cpu_s)


def load_of(times_s: list[float], wall_s: float, cpu_s: float) -> Load:
    """Summarise latencies.

    Args:
        times_s: of each request, at least one.
        wall_s: duration of the load.
        cpu_s: processor time of the load generator.
    """
    return Load(
        requests=len(times_s),
        wall_s=wall_s,
        p50_s=quantile(times_s, 0.5),
        p90_s=quantile(times_s, 0.9),
        p99_s=quantile(times_s, 0.99),
        worst_s=max(times_s),
        generator_cpu_s=cpu_s,
    )


class _Stream:
    """State of a running load: due requests without a connection, and connections without a request."""

    def __init__(self, work: Work, due: list[float]) -> None:
        self._work = work
        self._due = due
        self._seeds = count()
        self._waiting: deque[float] = deque()
        self._free: list[Connection] = []
        self._times: list[float] = []
        self._answered: asyncio.Future[None]

    async def run(self) -> list[float]:
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.create_future()
        opened = await connect(self._work.url, CONNECTIONS)
        self._free = opened.copy()
        start = self._loop.time()
        for due in self._due:
            self._loop.call_at(start + due, self._arrive, start + due)
        try:
            await asyncio.wait_for(self._answered, self._due[-1] + PATIENCE_S)
        except TimeoutError as error:
            late = len(self._due) - len(self._times)
            raise LoadFailed(f"{late} of {len(self._due)} requests were not answered {PATIENCE_S:g} s after") from error
        finally:
            for connection in opened:
                connection.close()
        return self._times

    def _arrive(self, due: float) -> None:
        self._waiting.append(due)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._waiting and self._free:
            connection, due = self._free.pop(), self._waiting.popleft()
            connection.send(encode(self._work, next(self._seeds)), partial(self._finish, connection, due))

    def _finish(self, connection: Connection, due: float, problem: LoadFailed | None) -> None:
        if self._answered.done():
            return
        if problem is not None:
            self._answered.set_exception(problem)
            return
        self._times.append(self._loop.time() - due)
        self._free.append(connection)
        if len(self._times) == len(self._due):
            self._answered.set_result(None)
        self._dispatch()
