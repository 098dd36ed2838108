"""Which waiting samples run next, and which requests are refused: the scheduling algorithm.

It holds numbers only: no task, no tensor, no clock. Each call is told the time, so equal calls give equal batches.

    admit ──▶ [ waiting, in the order of their virtual finish ] ──take──▶ Batch(slices of requests, bucket)

*Fair.* `fair_queue.py` orders the requests: each key has its share of the server, and each of its requests is done no
later than with an equal share of that at every instant, but for the batch in progress. So one sample that arrives
behind 1,024 is in the next batch; equal requests are served in the order of arrival, rather than all finish late
together, which under overload would miss every deadline.

*Work-conserving.* Whatever is queued when a worker is free runs at once, shared out between the free workers
(`batch_size.py` says in what sizes); a bucket is padded only where no smaller one is allowed, or where that is cheaper
than a further run. Under load, batches grow by themselves.

*No wasted work.* From how long runs take (`run_times.py`) it is known on arrival whether a request can be done before
its deadline behind those that are served before it, later ones that overtake it included (`arrivals.py`); if not, it is
refused at once, with the time after which the queue will be empty. A request that was admitted and then overtaken is
checked again when its turn comes: what can no longer be done in time is not begun. What one more batch would finish
goes first where it would be late otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from service.engine.interface import NO_SHARE, Share
from service.engine.scheduling.batch_size import BatchSizer
from service.engine.scheduling.fair_queue import FIRST, FairQueue, Flow, Waiting
from service.engine.scheduling.run_times import RunTimes
from service.errors import DeadlinePassed, QueueFull


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may run and wait.

    Attributes:
        max_batch_samples: in one session run; 0 leaves it to the device (`batch_size.largest_batch`).
        queue_samples: waiting for one graph, of all requests together; a request that would pass it is refused.
        request_queue_samples: of one request in that queue at a time; the rest of a larger request follows as room is
            made, and neither fills the queue nor is refused half-way.
        queue_wait_s: longest expected wait of a request, in seconds.
        device_slots: batches of a graph in work at a time on a device: one that runs, and the next, which is prepared.
    """

    max_batch_samples: int = 0
    queue_samples: int = 16_384
    request_queue_samples: int = 1_024
    queue_wait_s: float = 5.0
    device_slots: int = 2


class Slice(NamedTuple):
    """Samples `start` … `stop` − 1 of the request with this ticket."""

    ticket: int
    start: int
    stop: int


class Batch(NamedTuple):
    """The next run.

    Attributes:
        slices: of distinct requests; together at most `size` samples.
        size: rows of the run; those beyond the slices are padding.
        all_cores: whether it runs on all cores, as the only run.
    """

    slices: tuple[Slice, ...]
    size: int
    all_cores: bool = False


class SchedulerOutput(NamedTuple):
    """What a free worker does now.

    Attributes:
        batch: the next run; None to wait for the next arrival.
        expired: tickets that cannot be done before their deadline; they have left the queue.
    """

    batch: Batch | None
    expired: Sequence[int]


_NOTHING = SchedulerOutput(None, ())


class Scheduler:
    """The queue of one graph.

    Args:
        limits: how much may wait.
        sizes: of the runs; None means that each request runs alone, whole and unpadded.
        workers: how many runs there may be at a time.

    Attributes:
        queued_samples: in the queue; of a large request only what it may hold at a time.
    """

    def __init__(self, limits: BatchLimits, sizes: BatchSizer | None, workers: int = 1) -> None:
        self.queued_samples = 0
        self._limits = limits
        self._largest_held = min(limits.request_queue_samples, limits.queue_samples)
        self._sizes = sizes
        self._largest_run = sizes.largest if sizes else 1
        self._workers = workers
        self._times = RunTimes(sizes, workers)
        self._tickets = count()
        self._queue = FairQueue(self._largest_run)
        self._by_ticket: dict[int, Waiting] = {}
        self._begun: dict[int, Waiting] = {}
        self._left_samples = 0

    def admit(self, samples: int, deadline: float | None, now: float, share: Share = NO_SHARE) -> int:
        """Let a request into the queue.

        Args:
            samples: at least 1.
            deadline: when its caller stops waiting, on the clock of `now`; None means never.
            now: the time in seconds.
            share: of its key.

        Returns:
            Its ticket.

        Raises:
            DeadlinePassed: it is late already, or would be in an empty queue.
            QueueFull: its samples do not fit, or would wait too long; says when the queue will be empty.
        """
        if deadline is not None and deadline <= now:
            raise DeadlinePassed("the deadline passed before the request could be queued")
        held = min(samples, self._largest_held)
        if self.queued_samples + held > self._limits.queue_samples:
            raise self._full("the queue is full; try again later or ask for fewer samples")
        flow = self._queue.flow(share)
        # A key holds no more than it leaves free, so that there is always room for another.
        if share.name and flow.held_samples + held > self._limits.queue_samples - self.queued_samples:
            raise self._full("the queue is full of requests with this key; try again later or ask for fewer samples")
        self._times.forget_outdated(now)
        finish = flow.ideal.finish_of(samples)
        self._refuse_late(samples, flow, finish, deadline, now)
        flow.arrivals.add(samples, now)
        ticket = next(self._tickets)
        waiting = Waiting(ticket, samples, deadline, samples, finish, finish, flow)
        self._queue.add(waiting)
        self._by_ticket[ticket] = waiting
        self.queued_samples += held
        flow.held_samples += held
        self._left_samples += samples
        return ticket

    def withdraw(self, ticket: int) -> None:
        """Take what is left of a request out of the queue, if anything: it was cancelled, was late, or failed."""
        waiting = self._by_ticket.pop(ticket, None)
        if waiting is None:
            return
        self._begun.pop(ticket, None)
        held = min(waiting.left, self._largest_held)
        self.queued_samples -= held
        waiting.flow.held_samples -= held
        self._left_samples -= waiting.left
        self._queue.remove(waiting)

    def take(self, now: float, free: int = 1, *, alone: bool = False) -> SchedulerOutput:
        """Choose what a free worker does.

        Args:
            now: the time in seconds; of a batch that is taken ahead, when its run can begin.
            free: how many workers are, the asking one included.
            alone: whether no other run is in progress.

        Returns:
            A batch that has left the queue, unless nothing waits; and the late requests that were found.
        """
        if not self._by_ticket:
            return _NOTHING
        self._times.forget_outdated(now)
        if self._begun:
            self._bring_forward(now)
        ready, expired = self._in_time(now, free)
        for ticket in expired:
            self.withdraw(ticket)
        return SchedulerOutput(self._fill(ready, free, alone) if ready else None, expired)

    def pays_ahead(self) -> bool:
        """Whether a batch is worth taking while the device still runs another: later arrivals could not improve it."""
        if self._sizes is None:
            return bool(self._by_ticket)
        waiting = self._left_samples
        return waiting >= self._largest_run or (waiting > 0 and self._sizes.pays_alone(waiting))

    def run_s(self, size: int) -> float:
        """Seconds that a run of this size takes; none where that is unknown."""
        return self._times.seconds(0, size) or 0.0

    def ran(self, size: int, seconds: float, now: float, *, all_cores: bool = False) -> None:
        """Learn from a run; as `RunTimes.ran`."""
        self._times.ran(size, seconds, now, all_cores=all_cores)

    def expected_s(self, samples: int) -> float | None:
        """Seconds that a request would take behind all that wait; None where that is unknown."""
        return self._times.seconds(self._left_samples, samples)

    def _refuse_late(self, samples: int, flow: Flow, finish: float, deadline: float | None, now: float) -> None:
        """Refuse a request that would wait too long, or not be done in time."""
        alone_s = self._times.seconds_alone(samples)
        if alone_s is None:
            return
        if deadline is not None and now + alone_s > deadline:
            raise DeadlinePassed("the samples take longer to compute than the deadline allows")
        if not self._by_ticket:
            return
        ahead = self._queue.ahead_of(flow, finish, samples)
        if (self._times.seconds(ahead, 0) or 0.0) > self._limits.queue_wait_s:
            raise self._full("the queue is too long; try again later")
        if deadline is None:
            return
        ahead = self._queue.ahead_of(flow, finish, samples, within_s=deadline - now, now=now)
        if not self._can_do(ahead, samples, deadline, now):
            raise self._full("the queue is too long for this deadline; try again later or allow more time")

    def _full(self, message: str) -> QueueFull:
        return QueueFull(message, self._times.seconds(self._left_samples, 0))

    def _bring_forward(self, now: float) -> None:
        """Put requests first that one more batch finishes, where those that overtook them would make them late."""
        if self._sizes is None:
            return
        for waiting in self._begun.values():
            left, deadline = waiting.left, waiting.deadline
            if deadline is None or left > self._workers * self._largest_run or waiting.turn == FIRST:
                continue
            if self._can_do(self._left_samples - left, left, deadline, now):  # even as the last
                continue
            if not self._can_do(self._queue.ahead_of(waiting.flow, waiting.turn) - left, left, deadline, now):
                self._queue.bring_forward(waiting)

    def _can_do(self, ahead: int, samples: int, deadline: float, now: float) -> bool:
        seconds = self._times.seconds(ahead, samples)
        return deadline > now and (seconds is None or now + seconds <= deadline)

    def _in_time(self, now: float, free: int) -> tuple[list[Waiting], tuple[int, ...]]:
        """The first requests that can fill every free worker, and those before them that cannot be done in time."""
        ready: list[Waiting] = []
        expired: list[int] = []
        largest = self._largest_run
        room = free * largest
        lone = free == self._workers and len(self._by_ticket) == 1
        # Most are in the first run, and one estimate does for all of them.
        first_run_s = (
            self._times.seconds_alone(self._left_samples)
            if lone
            else self._times.seconds(0, min(self._left_samples, largest))
        ) or 0.0
        ahead = 0
        for waiting in self._queue.in_order():
            if ahead >= room:
                break
            left, deadline = waiting.left, waiting.deadline
            if deadline is None:
                is_in_time = True
            elif ahead + left <= largest or lone:
                is_in_time = now < deadline and now + first_run_s <= deadline
            else:
                is_in_time = self._can_do(ahead, left, deadline, now)
            if is_in_time:
                ready.append(waiting)
                ahead += left
            else:
                expired.append(waiting.ticket)
        return ready, tuple(expired)

    def _fill(self, ready: Sequence[Waiting], free: int, alone: bool) -> Batch:
        """Take the first of the queue, which are `ready`, as far as there is room."""
        available = sum([waiting.left for waiting in ready])
        if self._sizes is None:
            size, all_cores = ready[0].left, False
        else:
            if available > self._largest_run:
                # A request that needs one run does not wait for it to be filled up by one that needs many.
                small = sum([waiting.left for waiting in ready if waiting.left <= self._largest_run])
                if 0 < small < self._largest_run and self._sizes.pays_alone(small):
                    available = small
            size, all_cores = self._sizes.choose(available, free, alone=alone)
        slices = []
        room = size
        by_flow: dict[Flow, tuple[int, int]] = {}
        for waiting in ready:
            if room == 0:
                break
            left = waiting.left
            samples = min(left, room)
            start = waiting.samples - left
            waiting.left -= samples
            room -= samples
            self._left_samples -= samples
            flow = waiting.flow
            released = min(left, self._largest_held) - min(left - samples, self._largest_held)
            self.queued_samples -= released
            flow.held_samples -= released
            given, whole = by_flow.get(flow, (0, 0))
            by_flow[flow] = given + samples, whole + (samples == left)
            if samples == left:
                del self._by_ticket[waiting.ticket]
                self._begun.pop(waiting.ticket, None)
            else:
                self._begun[waiting.ticket] = waiting
            slices.append(Slice(waiting.ticket, start, start + samples))
        self._queue.served(by_flow)
        return Batch(tuple(slices), size, all_cores)
