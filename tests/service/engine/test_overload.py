"""What is answered in time when more comes than can be: the policy alone, in simulated time, with everybody's luck fixed.

Requests arrive, lanes run batches, callers give up at their deadlines; goodput is what was answered before. Nothing
here waits for a clock, so each scenario is the same at every run, on any machine.

Shapes: n samples of a request.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from service.engine.batch_policy import Batch, BatchLimits, BatchPolicy
from service.engine.run_sizes import NOT_KNOWN, RunSizes
from service.errors import DeadlinePassed, QueueFull

SIZES = (1, 2, 4, 8, 16, 32, 64)
# One millisecond a sample on one thread, a little more for few: as of the shipped generators on a CPU.
COSTS_S = {size: 0.0002 + 0.001 * size for size in SIZES}
LANES = 2
CAPACITY = LANES * 64 / COSTS_S[64]  # samples a second
SECONDS = 20.0
LATENCY_S = 1.0  # that callers allow


@dataclass(frozen=True)
class Machine:
    """What runs really take.

    Attributes:
        lanes: runs at a time.
        slower: than at load, by this factor.
        noise: standard deviation of a run's time, as a share of it.
        known: whether the policy was told the costs.
    """

    lanes: int = LANES
    slower: float = 1.0
    noise: float = 0.1
    known: bool = True

    def policy(self, limits: BatchLimits) -> BatchPolicy:
        sizes = RunSizes(SIZES, COSTS_S if self.known else NOT_KNOWN)
        return BatchPolicy(limits, sizes, self.lanes)


@dataclass(eq=False)
class Request:
    """A caller.

    Attributes:
        at: when it comes.
        samples: n.
        latency_s: when it gives up after that; None never.
        left: samples that have not been computed.
        done: when the last of them was.
        refused: whether it was turned away on arrival.
        gone: whether it gave up or was told that it is late.
        retry_after_s: that it was told.
    """

    at: float
    samples: int
    latency_s: float | None = LATENCY_S
    left: int = 0
    done: float | None = None
    refused: bool = False
    gone: bool = False
    retry_after_s: float | None = None

    @property
    def deadline(self) -> float | None:
        return None if self.latency_s is None else self.at + self.latency_s

    @property
    def good(self) -> bool:
        return self.done is not None and not self.gone


@dataclass
class Outcome:
    """What came of a simulation.

    Attributes:
        requests: all that came.
        computed: samples.
        end: when the last of them had been.
    """

    requests: list[Request]
    computed: int = 0
    end: float = 0.0

    def goodput(self, until: float = SECONDS) -> float:
        """Samples a second that were answered in time, once the queue has filled."""
        warm = 2 * LATENCY_S
        answered = [each.samples for each in self.requests if each.good and warm <= (each.done or 0.0) < until]
        return sum(answered) / (until - warm)

    def share(self, samples: int) -> float:
        """Of the requests of this size, how many were answered in time."""
        all_of_them = [each for each in self.requests if each.samples == samples]
        return sum(each.good for each in all_of_them) / len(all_of_them)


def poisson(load: float, sizes: tuple[int, ...] = (64,), seed: int = 0, seconds: float = SECONDS) -> list[Request]:
    """Requests of these sizes, each as often as the others, that together ask for `load` times the capacity."""
    rng = np.random.default_rng(seed)
    rate = load * CAPACITY / float(np.mean(sizes))
    times = np.cumsum(rng.exponential(1 / rate, int(2 * rate * seconds) + 10))
    return [Request(float(at), int(rng.choice(sizes))) for at in times[times < seconds]]


@dataclass
class Simulation:
    """A queue, lanes and callers.

    Attributes:
        machine: what runs take.
        limits: of the queue.
    """

    machine: Machine = field(default_factory=Machine)
    limits: BatchLimits = field(default_factory=BatchLimits)

    def run(self, requests: list[Request]) -> Outcome:
        """Let everybody come, and everything end that was begun."""
        outcome = Outcome(requests)
        policy = self.machine.policy(self.limits)
        rng = np.random.default_rng(1)
        order = itertools.count()
        events = [(each.at, next(order), each) for each in requests]
        heapq.heapify(events)  # of arrivals, and of runs and callers' patience that end
        by_ticket: dict[int, Request] = {}
        free = self.machine.lanes

        def begin(now: float) -> Iterator[tuple[float, Batch]]:
            nonlocal free
            while free:
                decision = policy.take(now, free, alone=free == self.machine.lanes)
                for ticket in decision.expired:
                    by_ticket[ticket].gone = True
                if decision.batch is None:
                    return
                free -= 1
                noise = max(0.3, 1 + self.machine.noise * rng.standard_normal())
                yield COSTS_S[decision.batch.size] * self.machine.slower * noise, decision.batch

        while events:
            now, _, event = heapq.heappop(events)
            if isinstance(event, Request):
                try:
                    ticket = policy.admit(event.samples, event.deadline, now)
                except (QueueFull, DeadlinePassed) as refusal:
                    event.refused, event.retry_after_s = True, refusal.retry_after_s
                else:
                    by_ticket[ticket], event.left = event, event.samples
                    if event.deadline is not None:
                        heapq.heappush(events, (event.deadline, next(order), ticket))
            elif isinstance(event, int):
                request = by_ticket[event]
                if request.done is None:
                    request.gone = True
                    policy.withdraw(event)
                continue
            else:
                batch, seconds = event
                free += 1
                policy.ran(batch.size, seconds, now)
                for piece in batch.slices:
                    request = by_ticket[piece.ticket]
                    outcome.computed += piece.stop - piece.start
                    request.left -= piece.stop - piece.start
                    if request.left == 0:
                        request.done = outcome.end = now
            for seconds, batch in begin(now):
                heapq.heappush(events, (now + seconds, next(order), (batch, seconds)))
        return outcome
