"""One replica in a simulation: the service's scheduler, its model threads and its event loop, on shared cores.

    balancer ─▶ event loop ──admit──▶ Scheduler ◀──take── model threads ─▶ event loop ─▶ answer
                 one at a time, before the runs on a core

The scheduler and the choice of batch sizes are the service's own modules, told the simulated time. The event loop is a
server of its own: where every core computes it waits until the operating system lets it run or a core is free, and the
run that it displaces ends later by as much. Requests that come in one turn of the loop share a run, as in
`service/engine/batching/batcher.py`.
"""

import math
import random
from collections.abc import Callable, Generator
from enum import Enum

import simpy

from benchmarks.capacity.profile import Profile
from service.engine.scheduling.scheduler import Batch, Scheduler
from service.errors import DeadlinePassed, QueueFull

Waiting = Generator[simpy.Event, object, None]


class End(Enum):
    """How a request ended, by the status that its caller saw."""

    ANSWERED = 200
    REFUSED = 429
    LATE = 504


class Request:
    """A simulated request.

    Args:
        arrived: when it reached the replica.
        samples: of it.

    Attributes:
        left: samples that are not computed.
        end: how it ended; None while it waits.
        balancer: which sent it.
    """

    __slots__ = ("arrived", "balancer", "end", "left", "samples")

    def __init__(self, arrived: float, samples: int, balancer: int = 0) -> None:
        self.arrived = arrived
        self.samples = samples
        self.left = samples
        self.end: End | None = None
        self.balancer = balancer


class Replica:
    """A replica that takes requests by `submit`, and hands each to `ended` when its response is written.

    Attributes:
        busy_s: seconds of runs and of the event loop, of all cores together.
        runs: how many there were of each batch size.
        waits: sum of the seconds between arrival and first run, and of how many requests.
    """

    def __init__(
        self,
        env: simpy.Environment,
        profile: Profile,
        chance: random.Random,
        ended: Callable[["Replica", Request], None],
    ) -> None:
        self.busy_s = 0.0
        self.runs: dict[int, int] = {}
        self.waits = (0.0, 0)
        self._env = env
        self._profile = profile
        self._chance = chance
        self._ended = ended
        self._scheduler = Scheduler(profile.limits, profile.sizer, profile.cores)
        self._by_ticket: dict[int, Request] = {}
        self._requests = 0
        self._tasks: list[Request] = []
        self._loop_wakes: simpy.Event | None = None
        self._core_is_free: simpy.Event | None = None  # for an event loop that waits for one
        self._loop_until = 0.0  # of the task in progress
        self._idle: list[simpy.Event] = []
        self._running: list[int] = []  # model threads
        self._displaced_s = [0.0] * profile.cores
        for worker in range(profile.cores):
            env.process(self._work(worker))
        env.process(self._loop())

    def submit(self, request: Request) -> None:
        """Take a request that has just arrived."""
        self._requests += 1
        self._post(request)

    def _post(self, task: Request) -> None:
        """Leave something to the event loop: a request that came, or one that has ended and is to be answered."""
        self._tasks.append(task)
        if self._loop_wakes is not None:
            self._loop_wakes.succeed()
            self._loop_wakes = None

    def _loop(self) -> Waiting:
        profile, env = self._profile, self._env
        while True:
            if not self._tasks:
                self._loop_wakes = env.event()
                yield self._loop_wakes
                if len(self._running) == profile.cores and (delay_s := profile.wake(self._chance)):
                    self._core_is_free = env.event()
                    yield env.any_of((self._core_is_free, env.timeout(delay_s)))
                    self._core_is_free = None
            turn, self._tasks = self._tasks, []
            for task in turn:
                cost_s = profile.request_s if task.end is None else profile.answer_s
                if cost_s:
                    self._displace(cost_s)
                    yield env.timeout(cost_s)
                if task.end is None:
                    self._admit(task)
                else:
                    self._requests -= 1
                    self._ended(self, task)
            if self._idle and self._scheduler.queued_samples:
                self._idle.pop().succeed()

    def _displace(self, seconds: float) -> None:
        """Compute on the event loop; where no core is free, a run ends as much later."""
        self.busy_s += seconds
        self._loop_until = self._env.now + seconds
        if len(self._running) == self._profile.cores:
            self._displaced_s[self._running[0]] += seconds

    def _admit(self, request: Request) -> None:
        if self._requests > self._profile.max_requests:
            self._end(request, End.REFUSED)
            return
        deadline = request.arrived + self._profile.timeout_s
        try:
            ticket = self._scheduler.admit(request.samples, deadline, self._env.now)
        except QueueFull:
            self._end(request, End.REFUSED)
        except DeadlinePassed:
            self._end(request, End.LATE)
        else:
            self._by_ticket[ticket] = request

    def _end(self, request: Request, how: End) -> None:
        request.end = how
        self._post(request)

    def _work(self, worker: int) -> Waiting:
        ended = -math.inf
        while True:
            batch = self._take()
            if batch is None:
                if self._core_is_free is not None and not self._core_is_free.triggered:
                    self._core_is_free.succeed()
                wakes = self._env.event()
                self._idle.append(wakes)
                yield wakes
                continue
            self._running.append(worker)
            if self._idle and self._scheduler.queued_samples:
                self._idle.pop().succeed()
            began = self._env.now
            yield from self._compute(worker, batch.size, began - ended)
            ended = self._env.now
            self._running.remove(worker)
            self._finish(batch, began)

    def _take(self) -> Batch | None:
        """The next run, of the service's scheduler; requests that are late by then end."""
        free, now = self._profile.cores - len(self._running), self._env.now
        while True:
            batch, expired = self._scheduler.take(now, free, alone=not self._running)
            for ticket in expired:
                self._end(self._by_ticket.pop(ticket), End.LATE)
            if batch is not None or not expired:
                return batch

    def _compute(self, worker: int, size: int, idle_s: float) -> Waiting:
        seconds = self._profile.run(size, self._chance, idle_s)
        self.busy_s += seconds
        self.runs[size] = self.runs.get(size, 0) + 1
        if len(self._running) == self._profile.cores:  # the event loop is on this core
            seconds += max(0.0, self._loop_until - self._env.now)
        while seconds > 0:
            self._displaced_s[worker] = 0.0
            yield self._env.timeout(seconds)
            seconds = self._displaced_s[worker]

    def _finish(self, batch: Batch, began: float) -> None:
        now = self._env.now
        self._scheduler.ran(batch.size, now - began, now)
        waited_s, waiting = self.waits
        for ticket, start, stop in batch.slices:
            request = self._by_ticket[ticket]
            if start == 0:
                waited_s, waiting = waited_s + began - request.arrived, waiting + 1
            request.left -= stop - start
            if request.left == 0:
                del self._by_ticket[ticket]
                in_time = now <= request.arrived + self._profile.timeout_s
                self._end(request, End.ANSWERED if in_time else End.LATE)
        self.waits = waited_s, waiting
