"""What is answered in time when more comes than can be: the scheduler alone, in simulated time, with fixed seeds.

Requests arrive, workers run batches, callers give up at their deadlines; goodput is what was answered before. Nothing
here waits for a clock, so each scenario is the same at every run, on any machine.

Shapes: n samples of a request.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from service.engine.interface import NO_SHARE, Share
from service.engine.scheduling.batch_size import NOT_KNOWN, BatchSizer
from service.engine.scheduling.scheduler import Batch, BatchLimits, Scheduler
from service.errors import DeadlinePassed, QueueFull

SIZES = (1, 2, 4, 8, 16, 32, 64)
# One millisecond a sample on one thread, a little more for few: as of the shipped generators on a CPU.
COSTS_S = {size: 0.0002 + 0.001 * size for size in SIZES}
WORKERS = 2
CAPACITY = WORKERS * 64 / COSTS_S[64]  # samples a second
SECONDS = 20.0
LATENCY_S = 1.0  # that callers allow


@dataclass(frozen=True)
class Machine:
    """What runs really take.

    Attributes:
        workers: runs at a time.
        slower: than at load, by this factor.
        noise: standard deviation of a run's time, as a share of it.
        known: whether the scheduler was told the costs.
    """

    workers: int = WORKERS
    slower: float = 1.0
    noise: float = 0.1
    known: bool = True

    def scheduler(self, limits: BatchLimits) -> Scheduler:
        sizes = BatchSizer(SIZES, COSTS_S if self.known else NOT_KNOWN)
        return Scheduler(limits, sizes, self.workers)


DEFAULT = Machine()
LIMITS = BatchLimits()


@dataclass(eq=False)
class Request:
    """A caller.

    Attributes:
        at: when it comes.
        samples: n.
        latency_s: when it gives up after that; None never.
        share: of its key.
        left: samples that have not been computed.
        done: when the last of them was.
        refused: whether it was turned away on arrival.
        gone: whether it gave up or was told that it is late.
        retry_after_s: that it was told.
    """

    at: float
    samples: int
    latency_s: float | None = LATENCY_S
    share: Share = NO_SHARE
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
    """

    requests: list[Request]
    computed: int = 0

    def goodput(self, until: float = SECONDS) -> float:
        """Samples a second that were answered in time, once the queue has filled."""
        warm = 2 * LATENCY_S
        answered = [each.samples for each in self.requests if each.good and warm <= (each.done or 0.0) < until]
        return sum(answered) / (until - warm)

    def wasted(self) -> float:
        """Of the samples computed, the share whose requests were not answered in time."""
        in_vain = [each.samples - each.left for each in self.requests if not each.refused and not each.good]
        return sum(in_vain) / self.computed

    def of_key(self, name: str) -> float:
        """Of the samples answered in time, the share of a key."""
        answered = Counter[str]()
        for each in self.requests:
            answered[each.share.name] += each.samples if each.good else 0
        return answered[name] / answered.total()

    def share(self, samples: int) -> float:
        """Of the requests of this size, how many were answered in time."""
        all_of_them = [each for each in self.requests if each.samples == samples]
        return sum(each.good for each in all_of_them) / len(all_of_them)


def poisson(
    samples_per_s: float, sizes: tuple[int, ...] = (64,), seed: int = 0, seconds: float = SECONDS
) -> list[Request]:
    """Requests of these sizes, each as often as the others, at random times."""
    rng = np.random.default_rng(seed)
    rate = samples_per_s / float(np.mean(sizes))
    times = np.cumsum(rng.exponential(1 / rate, int(2 * rate * seconds) + 10))
    return [Request(float(at), int(rng.choice(sizes))) for at in times[times < seconds]]


def keyed(requests: list[Request], shares: Sequence[Share], seed: int = 0) -> list[Request]:
    """The same requests, each of one of these keys, as often as of the others."""
    rng = np.random.default_rng(seed)
    return [replace(request, share=shares[int(rng.integers(len(shares)))]) for request in requests]


class Simulation:
    """A queue, workers and callers.

    Args:
        machine: what runs take.
        limits: of the queue.
    """

    def __init__(self, machine: Machine = DEFAULT, limits: BatchLimits = LIMITS) -> None:
        self._machine = machine
        self._scheduler = machine.scheduler(limits)
        self._rng = np.random.default_rng(1)
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._by_ticket: dict[int, Request] = {}
        self._free = machine.workers

    def run(self, requests: list[Request]) -> Outcome:
        """Let all requests come, and all runs end that began."""
        self._outcome = Outcome(requests)
        for request in requests:
            self._later(request.at, partial(self._arrive, request))
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
            self._begin(now)
        return self._outcome

    def _later(self, at: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), happen))

    def _arrive(self, request: Request, now: float) -> None:
        try:
            ticket = self._scheduler.admit(request.samples, request.deadline, now, request.share)
        except (QueueFull, DeadlinePassed) as refusal:
            request.refused, request.retry_after_s = True, refusal.retry_after_s
            return
        self._by_ticket[ticket], request.left = request, request.samples
        if request.deadline is not None:
            self._later(request.deadline, partial(self._give_up, ticket))

    def _give_up(self, ticket: int, _: float) -> None:
        request = self._by_ticket[ticket]
        if request.done is None:
            request.gone = True
            self._scheduler.withdraw(ticket)

    def _begin(self, now: float) -> None:
        while self._free:
            decision = self._scheduler.take(now, self._free, alone=self._free == self._machine.workers)
            for ticket in decision.expired:
                self._by_ticket[ticket].gone = True
            if decision.batch is None:
                return
            self._free -= 1
            noise = max(0.3, 1 + self._machine.noise * self._rng.standard_normal())
            seconds = COSTS_S[decision.batch.size] * self._machine.slower * noise
            self._later(now + seconds, partial(self._end, decision.batch, seconds))

    def _end(self, batch: Batch, seconds: float, now: float) -> None:
        self._free += 1
        self._scheduler.ran(batch.size, seconds, now)
        for piece in batch.slices:
            request = self._by_ticket[piece.ticket]
            self._outcome.computed += piece.stop - piece.start
            request.left -= piece.stop - piece.start
            if request.left == 0:
                request.done = now


OVERLOADS = [3.0, 5.0]
MIXED = (1, 4, 16, 64)
# Runs take three times what loading measured, or nothing was measured, or each is another length, or there is one core.
MACHINES = [DEFAULT, Machine(slower=3.0), Machine(known=False), Machine(noise=0.3), Machine(workers=1)]


def capacity(machine: Machine) -> float:
    """Samples a second."""
    return machine.workers * 64 / (COSTS_S[64] * machine.slower)


@pytest.mark.parametrize("load", OVERLOADS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("sizes", [(64,), MIXED], ids=["64", "mixed"])
def test_whatever_comes_nine_tenths_of_the_work_are_answered_in_time(
    sizes: tuple[int, ...], machine: Machine, load: float
) -> None:
    outcome = Simulation(machine).run(poisson(load * capacity(machine), sizes))
    assert outcome.goodput() >= 0.9 * capacity(machine)


WEIGHTED = [Share("light", 1.0), Share("middle", 2.0), Share("heavy", 4.0)]
EQUAL = [Share(name) for name in "abcdefg"]


@pytest.mark.parametrize("load", OVERLOADS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("shares", [WEIGHTED, EQUAL], ids=["weighted", "equal"])
def test_with_keys_too_hardly_anything_is_computed_in_vain_and_each_has_its_share(
    shares: list[Share], machine: Machine, load: float
) -> None:
    """Requests of other keys that come later overtake: one that they would make late is not let in."""
    outcome = Simulation(machine).run(keyed(poisson(load * capacity(machine)), shares))
    assert outcome.goodput() >= 0.95 * capacity(machine)
    assert outcome.wasted() < 0.03
    weights = sum(share.weight for share in shares)
    assert [outcome.of_key(each.name) for each in shares] == pytest.approx(
        [each.weight / weights for each in shares], abs=0.02
    )


@pytest.mark.parametrize("shares", [[NO_SHARE], WEIGHTED], ids=["no keys", "weighted"])
def test_large_requests_are_let_in_where_smaller_ones_that_come_later_leave_the_time(shares: list[Share]) -> None:
    outcome = Simulation().run(keyed(poisson(3 * CAPACITY, (16, 256)), shares))
    assert outcome.share(16) > 0.95
    assert outcome.share(256) > 0.1
    assert outcome.wasted() < 0.07
    assert outcome.goodput() >= 0.9 * CAPACITY


def test_requests_that_are_refused_for_their_deadlines_keep_no_others_out() -> None:
    """None of them overtakes anything, so that no time is left free for them."""
    hopeless = [replace(each, latency_s=0.02) for each in poisson(5 * CAPACITY, (64,), seed=2)]
    others = poisson(0.8 * CAPACITY, (256,))
    alone = Simulation().run([replace(each) for each in others]).share(256)
    beside = Simulation().run(sorted(others + hopeless, key=lambda request: request.at)).share(256)
    assert beside > 0.9 * alone


def test_a_burst_of_small_requests_keeps_no_large_one_out() -> None:
    """Of ten seconds, what came at once is not expected to come in each."""
    burst = [Request(1.0, 16, latency_s=10.0) for _ in range(200)]
    after = [Request(1.0 + 0.1 * number, 512, latency_s=10.0) for number in range(1, 11)]
    assert all(request.good for request in Simulation().run(burst + after).requests)


@pytest.mark.parametrize("load", OVERLOADS)
def test_single_samples_are_answered_as_fast_as_they_can_be_computed(load: float) -> None:
    outcome = Simulation().run(poisson(load * CAPACITY, (1,), seconds=8.0))
    assert outcome.goodput(until=8.0) >= 0.9 * CAPACITY


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("sizes", [(64,), MIXED, (1,)], ids=["64", "mixed", "1"])
def test_at_half_of_the_capacity_no_request_is_refused_or_late(sizes: tuple[int, ...], machine: Machine) -> None:
    outcome = Simulation(machine).run(poisson(0.5 * capacity(machine), sizes, seconds=8.0))
    assert all(request.good for request in outcome.requests)


@pytest.mark.parametrize("load", OVERLOADS)
def test_small_requests_are_not_starved_by_large_ones(load: float) -> None:
    outcome = Simulation().run(poisson(load * CAPACITY, MIXED))
    assert outcome.share(1) == outcome.share(4) == 1.0
    assert outcome.share(16) > 0.5


@pytest.mark.parametrize("load", OVERLOADS)
def test_requests_of_many_batches_are_answered_too_where_smaller_ones_leave_the_time(load: float) -> None:
    """A request that needs a quarter of all that its deadline leaves is overtaken by many; some of it is in vain."""
    outcome = Simulation().run(poisson(load * CAPACITY, (16, 256)))
    assert outcome.share(16) == 1.0
    assert outcome.share(256) > 0.1
    assert outcome.goodput() >= 0.85 * CAPACITY


def test_lone_samples_beside_a_stream_are_answered_at_once_and_the_stream_is_not_broken() -> None:
    """The stream asks for its next chunk when it has the last; here all of them wait at once, which is worse."""
    stream = [Request(0.001 * chunk, 1024, latency_s=30.0) for chunk in range(4)]
    lone = [Request(0.05 + 0.1 * number, 1, latency_s=0.3) for number in range(30)]
    outcome = Simulation().run(sorted(stream + lone, key=lambda request: request.at))
    assert all(request.good for request in outcome.requests)
    waits = sorted((request.done or 0.0) - request.at for request in lone)
    assert waits[-1] < 3 * COSTS_S[64]


def test_without_deadlines_admitted_requests_are_answered_within_little_more_than_the_longest_wait() -> None:
    limits = BatchLimits(queue_wait_s=2.0)
    requests = [replace(request, latency_s=None) for request in poisson(3 * CAPACITY)]
    outcome = Simulation(limits=limits).run(requests)
    let_in = [request for request in requests if not request.refused]
    assert all(request.good for request in let_in)
    assert max((request.done or 0.0) - request.at for request in let_in) < 1.25 * limits.queue_wait_s
    assert outcome.goodput() >= 0.95 * CAPACITY


def test_a_refusal_says_how_long_the_queue_is() -> None:
    requests = [replace(request, latency_s=None) for request in poisson(3 * CAPACITY)]
    Simulation(limits=BatchLimits(queue_wait_s=2.0)).run(requests)
    told = [request.retry_after_s or 0.0 for request in requests if request.refused]
    assert told
    assert all(1.7 < seconds < 2.5 for seconds in told)


def test_after_an_overload_every_request_is_answered_again() -> None:
    burst = poisson(5 * CAPACITY, seconds=5.0)
    after = [replace(request, at=request.at + 6.5) for request in poisson(0.5 * CAPACITY, seed=2, seconds=5.0)]
    Simulation().run(burst + after)
    assert all(request.good for request in after)
