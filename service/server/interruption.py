"""Ending the current task from outside, and knowing afterwards that it was us.

A layer that gives its inside a limit (of time, of a client's patience) cancels its own task when the limit is reached
and turns the cancellation into what it means. `asyncio.timeout` does the same for time alone, and costs each request as
much as parsing it; here the limit is anybody's callback.

References:
    asyncio, "Task Object": `cancel` and `uncancel`.
"""

import asyncio
from typing import Generic, TypeVar

R = TypeVar("R")


class Interruption(Generic[R]):
    """Cancels the task that makes it, at most once, for a reason.

    Attributes:
        reason: why; None while nothing did.
    """

    __slots__ = ("_task", "reason")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.reason: R | None = None

    def interrupt(self, reason: R) -> None:
        """Cancel the task; the first reason stays."""
        if self.reason is None and self._task is not None:
            self.reason = reason
            self._task.cancel()

    def taken(self) -> R | None:
        """Take the cancellation back: call it where the task's `CancelledError` is caught.

        Returns:
            The reason; None where somebody else cancelled the task, so that the error must go on.
        """
        if self.reason is None or self._task is None or self._task.uncancel() > 0:
            return None
        return self.reason
