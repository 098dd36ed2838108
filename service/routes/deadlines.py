"""How long one request may queue and compute: `X-Timeout-Ms`, or the default of the settings.

A budget is spent only while the engine has the request. A client that reads its stream slowly spends its own time,
not the request's, and an upload has a limit of its own. What a caller asks for bounds the whole request. The default,
which nobody asked for, bounds each job anew: a long stream that moves is not cut off for being long.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Header, Request

from service.errors import DeadlinePassed
from service.routes.context import context_of
from service.settings import Settings

# Ten minutes: 50,000 samples of a large generator on a CPU. Longer work belongs into several requests.
MAX_TIMEOUT_MS = 600_000
MS_PER_S = 1000


class TimeBudget:
    """Seconds that a request may still spend in the engine.

    Args:
        timeout_s: how many it has.
        renewed: whether each job has all of them again.
        clock: monotonic seconds.

    Attributes:
        timeout_s: as given.
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
    """Answer the budget of a request.

    Args:
        timeout_ms: what it asks for; None takes the default.
        settings: the default.
    """
    if timeout_ms is None:
        return TimeBudget(settings.timeout_ms / MS_PER_S, renewed=True)
    return TimeBudget(timeout_ms / MS_PER_S)


# Dependencies are coroutines: FastAPI calls plain functions on a thread, which takes longer than most answers.
async def time_budget(
    request: Request,
    x_timeout_ms: Annotated[
        int | None,
        Header(
            ge=1,
            le=MAX_TIMEOUT_MS,
            description="deadline for queueing and computing the whole request, in milliseconds; past it the answer is "
            "504, or a stream ends incomplete",
            examples=[5000],
        ),
    ] = None,
) -> TimeBudget:
    """Read the request's deadline."""
    return budget_for(x_timeout_ms, context_of(request.scope).settings)


Budget = Annotated[TimeBudget, Depends(time_budget)]
