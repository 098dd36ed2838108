"""The parts of the running service, as endpoints are given them; threads for long work; time budgets."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ParamSpec, TypeVar, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from service.access.quotas import Quotas
from service.engine.interface import Engine
from service.errors import DeadlinePassed
from service.metrics import Telemetry
from service.packages.registry import Repository
from service.server.lifecycle import Lifecycle
from service.settings import Settings

# What one core parses and checks in well under a millisecond; a thread for less would cost more than it saves.
INLINE_BYTES = 16 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """Threads for what would block the event loop: parsing, decoding, encoding; bounded, so that models keep cores."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="media")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(*args, **kwargs)` on a thread of the pool.

        Work still waiting when its caller is cancelled never runs; the result of work that runs is dropped.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def run_sized(self, size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` here when its input is small, else on a thread of the pool."""
        if size_bytes <= INLINE_BYTES:
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    def close(self) -> None:
        """Drop what waits, and finish what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a running service.

    Attributes:
        metrics: returns the registry of the whole service, of all its processes.
    """

    settings: Settings
    telemetry: Telemetry
    lifecycle: Lifecycle
    engine: Engine
    repository: Repository
    offload: ThreadPool
    quotas: Quotas
    metrics: Callable[[], Awaitable[CollectorRegistry]]


def context_of(scope: Scope) -> Context:
    """Return the parts of the service that a request came to."""
    return cast("Context", scope["state"]["context"])


async def _parts(request: Request) -> Context:
    """As `context_of`, but a coroutine: FastAPI calls plain functions on a thread."""
    return context_of(request.scope)


Parts = Annotated[Context, Depends(_parts)]


MS_PER_S = 1000


class TimeBudget:
    """Seconds that a request may still spend in the engine.

    Args:
        timeout_s: how many it has.
        renewed: whether each job has all of them again.
        clock: monotonic seconds.

    """

    def __init__(self, timeout_s: float, *, renewed: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._renewed = renewed
        self._clock = clock
        self._spent_s = 0.0

    @contextmanager
    def spend(self) -> Iterator[Callable[[], float]]:
        """Spend time on one job, waiting for its turn included.

        Yields:
            A function that answers the seconds left, and raises `DeadlinePassed` when none are.
        """
        spent_before_s = 0.0 if self._renewed else self._spent_s
        began = self._clock()

        def left_s() -> float:
            left = self.timeout_s - spent_before_s - (self._clock() - began)
            if left <= 0:
                raise DeadlinePassed(f"the request's deadline of {self.timeout_s:g} s passed")
            return left

        try:
            yield left_s
        finally:
            self._spent_s += self._clock() - began


def budget_for(timeout_ms: int | None, settings: Settings) -> TimeBudget:
    """Return the budget of a request that asks for `timeout_ms`; None takes the default, for each of its jobs."""
    if timeout_ms is None:
        return TimeBudget(settings.timeout_ms / MS_PER_S, renewed=True)
    return TimeBudget(timeout_ms / MS_PER_S)
