"""Open loop: requests at a constant rate or at given times, independent of the server's responses.

A request is timed from the moment at which it was *due*, not from when a connection was free: a server that stops for a
second delays all requests due in it, and each of them counts (else coordinated omission hides the stop).

References:
    Schroeder, Wierman and Harchol-Balter, Open Versus Closed: A Cautionary Tale (2006).
    Tene, How NOT to Measure Latency (2015): coordinated omission.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

from benchmarks.load.closed_loop import Load, LoadFailed, Work
from benchmarks.load.connection import Connection, connect, encode, exactly
from benchmarks.results import quantile

# To each server; enough that one is free unless the server is overloaded.
CONNECTIONS = 64
# A server with unanswered requests so long after the last was due does not keep the rate.
PATIENCE_S = 10.0


class Answered(NamedTuple):
    """One request of a load.

    Attributes:
        due_s: when it was due, from the start.
        sent_s: seconds from then until it was sent.
        took_s: seconds from then until its response was complete.
    """

    due_s: float
    sent_s: float
    took_s: float


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
    answered = send([work], due_times(rate_per_s, duration_s))
    times = [each.took_s for each in answered]
    return load_of(times, time.monotonic() - began_s, time.process_time() - cpu_s)


def send(
    works: Sequence[Work], due: Sequence[float], choose: Callable[[Sequence[int]], int] = lambda outstanding: 0
) -> list[Answered]:
    """Send requests at given times.

    Args:
        works: the request to each server.
        due: in seconds from the start, ascending; at least one.
        choose: from the requests that each server has not answered to the place of the one that gets the next.

    Returns:
        The requests, as they were due.

    Raises:
        LoadFailed: a request failed, or was not answered within `PATIENCE_S` of the last one's time.
    """
    return sorted(exactly(_Stream(works, due, choose).run()))


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
    """State of a running load: of each server, due requests without a connection or connections without a request."""

    def __init__(self, works: Sequence[Work], due: Sequence[float], choose: Callable[[Sequence[int]], int]) -> None:
        self._works = works
        self._due = due
        self._choose = choose
        self._seeds = count()
        self._waiting: list[deque[float]] = [deque() for _ in works]
        self._free: list[list[Connection]] = []
        self._outstanding = [0 for _ in works]
        self._done: list[Answered] = []
        self._answered: asyncio.Future[None]

    async def run(self) -> list[Answered]:
        self._loop = asyncio.get_running_loop()
        self._answered = self._loop.create_future()
        opened = [await connect(work.url, CONNECTIONS) for work in self._works]
        self._free = [each.copy() for each in opened]
        self._start = self._loop.time()
        for due in self._due:
            self._loop.call_at(self._start + due, self._arrive, due)
        try:
            await asyncio.wait_for(self._answered, self._due[-1] + PATIENCE_S)
        except TimeoutError as error:
            late = len(self._due) - len(self._done)
            raise LoadFailed(f"{late} of {len(self._due)} requests were not answered {PATIENCE_S:g} s after") from error
        finally:
            for connection in (each for connections in opened for each in connections):
                connection.close()
        return self._done

    def _arrive(self, due: float) -> None:
        place = self._choose(self._outstanding)
        self._outstanding[place] += 1
        self._waiting[place].append(due)
        self._dispatch(place)

    def _dispatch(self, place: int) -> None:
        waiting, free = self._waiting[place], self._free[place]
        while waiting and free:
            connection, due = free.pop(), waiting.popleft()
            sent_s = self._loop.time() - self._start - due
            request = encode(self._works[place], next(self._seeds))
            connection.send(request, partial(self._finish, place, connection, due, sent_s))

    def _finish(
        self, place: int, connection: Connection, due: float, sent_s: float, problem: LoadFailed | None
    ) -> None:
        if self._answered.done():
            return
        if problem is not None:
            self._answered.set_exception(problem)
            return
        self._done.append(Answered(due, sent_s, self._loop.time() - self._start - due))
        self._outstanding[place] -= 1
        self._free[place].append(connection)
        if len(self._done) == len(self._due):
            self._answered.set_result(None)
        self._dispatch(place)
