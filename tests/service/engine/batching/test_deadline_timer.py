"""One timer rings for every deadline: in time for each, and for none that is far."""

import asyncio
import gc
import time
import weakref

from service.engine.batching.batcher import DeadlineTimer
from tests.support.gate import PATIENCE_S


class Waiting:
    """Deadlines that have not passed yet, and an timer that ends them."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []
        self.rang = 0
        self.all_late = asyncio.Event()
        self.timer = DeadlineTimer(asyncio.get_running_loop(), self.ring)

    def add(self, in_s: float) -> None:
        self.deadlines.append(time.monotonic() + in_s)
        self.timer.schedule(self.deadlines[-1])

    def ring(self) -> float | None:
        self.rang += 1
        now = time.monotonic()
        self.deadlines = [deadline for deadline in self.deadlines if deadline > now]
        if not self.deadlines:
            self.all_late.set()
        return min(self.deadlines, default=None)


def test_the_timer_expires_for_every_deadline_in_whatever_order_they_came() -> None:
    async def run() -> None:
        waiting = Waiting()
        for in_s in (0.02, 0.01, 0.05, 0.01, 0.03):
            waiting.add(in_s)
        await asyncio.wait_for(waiting.all_late.wait(), PATIENCE_S)

    asyncio.run(run())


def test_one_timer_serves_all() -> None:
    async def run() -> None:
        waiting = Waiting()
        for _ in range(1_000):
            waiting.add(0.01)
        await asyncio.wait_for(waiting.all_late.wait(), PATIENCE_S)
        assert waiting.rang < 20

    asyncio.run(run())


def test_after_a_stop_nothing_expires_and_the_owner_is_not_held() -> None:
    async def run() -> None:
        waiting = Waiting()
        waiting.add(0.01)
        timer = waiting.timer
        timer.stop()
        waiting.add(0.01)
        await asyncio.sleep(0.05)
        assert waiting.rang == 0
        released = weakref.ref(waiting)
        del waiting
        assert released() is None
        timer.schedule(0.0)

    gc.disable()  # freed by reference counting, not found as a cycle
    try:
        asyncio.run(run())
    finally:
        gc.enable()
