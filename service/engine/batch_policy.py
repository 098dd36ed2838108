"""Which waiting samples run next, and who is turned away: the pure core of the batcher.

It holds numbers only: no task, no tensor, no clock. Each call is told the time, so equal calls give equal batches.

    admit ──▶ [ waiting, in the order of their ideal finish ] ──take──▶ Batch(slices of requests, bucket)

*Fair between requests.* Imagine a server that gives every waiting request an equal share at every instant, and note
when each would be done: that is its ideal finish, and batches are filled in this order. So one sample that arrives
behind 1,024 goes into the next batch; equal requests are served in the order they came, rather than all finish late
together, which under overload would lose every deadline at once; and nobody is done later than with equal shares, but
for the batch in progress.

*Never waiting for more.* Whatever is queued when a lane is free goes out at once, shared out between the lanes that
are free (`service/engine/run_sizes.py` says in what sizes); a bucket is padded only where no smaller one is allowed.
Under load batches grow by themselves.

References:
    Friedman and Henderson, Fairness and efficiency in web server protocols (2003): never later than equal shares.
"""

import bisect
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import NamedTuple

from service.engine.equal_shares import EqualShares
from service.engine.run_sizes import RunSizes
from service.errors import DeadlinePassed, QueueFull

# Weight of the newest run in the moving average of the service rate: ten runs to follow a change, so that one slow run
# does not double every Retry-After.
RATE_WEIGHT = 0.2

_IDEAL_FINISH = attrgetter("ideal_finish")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may run and wait, counted in samples.

    Attributes:
        max_batch_samples: in one session run.
        queue_samples: waiting for one graph, of all requests together; what would pass it is refused.
        request_queue_samples: of one request in that queue at a time; the rest of a larger request follows as room is
            made, and neither fills the queue nor is refused half-way.
    """

    max_batch_samples: int = 64
    queue_samples: int = 16_384
    request_queue_samples: int = 1_024


class Slice(NamedTuple):
    """Samples `start` … `stop` − 1 of the request with this ticket."""

    ticket: int
    start: int
    stop: int


class Batch(NamedTuple):
    """What to run now.

    Attributes:
        slices: of distinct requests; together at most `size` samples.
        size: rows of the session run; those beyond the slices are padding.
        wide: whether it runs on all cores, as the only run.
    """

    slices: tuple[Slice, ...]
    size: int
    wide: bool = False


class Decision(NamedTuple):
    """What a lane that is free does now.

    Attributes:
        batch: what to run; None to wait for the next arrival.
        expired: tickets whose deadline has passed; they have left the queue.
    """

    batch: Batch | None
    expired: tuple[int, ...]


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request with samples in the queue."""

    ticket: int
    samples: int
    deadline: float | None
    ideal_finish: float
    taken: int = 0


class BatchPolicy:
    """The queue of one graph.

    Args:
        limits: how much may wait.
        sizes: of the runs; None means that each request runs alone, whole and unpadded.
        lanes: how many runs there may be at a time.
    """

    def __init__(self, limits: BatchLimits, sizes: RunSizes | None, lanes: int = 1) -> None:
        self._limits = limits
        self._largest_held = min(limits.request_queue_samples, limits.queue_samples)
        self._sizes = sizes
        self._lanes = lanes
        self._tickets = count()
        self._queue: list[_Waiting] = []  # by ideal finish, then by arrival
        self._by_ticket: dict[int, _Waiting] = {}
        self._queued_samples = 0
        self._lane_samples_per_s: float | None = None
        self._ideal = EqualShares()

    @property
    def queued_samples(self) -> int:
        """Samples in the queue; of a large request only what it may hold at a time."""
        return self._queued_samples

    def admit(self, samples: int, deadline: float | None, now: float) -> int:
        """Let a request into the queue.

        Args:
            samples: how many it asks for, at least 1.
            deadline: when its caller stops waiting, on the clock of `now`; None never.
            now: the time in seconds.

        Returns:
            Its ticket.

        Raises:
            DeadlinePassed: it is late already.
            QueueFull: its samples do not fit.
        """
        if deadline is not None and deadline <= now:
            raise DeadlinePassed("the deadline passed before the request could be queued")
        held = min(samples, self._largest_held)
        overflow = self._queued_samples + held - self._limits.queue_samples
        if overflow > 0:
            raise QueueFull("the queue is full; try again later or ask for fewer samples", self._time_to_run(overflow))
        ticket = next(self._tickets)
        waiting = _Waiting(ticket, samples, deadline, self._ideal.arrive(samples))
        bisect.insort(self._queue, waiting, key=_IDEAL_FINISH)
        self._by_ticket[ticket] = waiting
        self._queued_samples += held
        return ticket

    def withdraw(self, ticket: int) -> None:
        """Take what is left of a request out of the queue, if anything: it was cancelled, was late, or failed."""
        waiting = self._by_ticket.get(ticket)
        if waiting is not None:
            self._remove(waiting)
            self._ideal.leave(waiting.ideal_finish)

    def take(self, now: float, free: int = 1, *, alone: bool = False) -> Decision:
        """Choose what a free lane does.

        Args:
            now: the time in seconds.
            free: how many lanes are, the asking one among them.
            alone: whether no other run is in progress.

        Returns:
            A batch that has left the queue, unless nothing waits; and the late requests met on the way.
        """
        ready, expired = self._in_time(now, free)
        for waiting in expired:
            self.withdraw(waiting.ticket)
        batch = self._fill(ready, free, alone) if ready else None
        return Decision(batch, tuple(waiting.ticket for waiting in expired))

    def measure(self, samples: int, seconds: float) -> None:
        """Learn from a run how fast the queue empties.

        Args:
            samples: that left the queue for it, padding left out.
            seconds: that it took of one lane; of a wide run, of all of them.
        """
        if seconds <= 0:  # a coarse clock has not moved
            return
        measured = samples / seconds
        known = measured if self._lane_samples_per_s is None else self._lane_samples_per_s
        self._lane_samples_per_s = known + RATE_WEIGHT * (measured - known)

    def _time_to_run(self, samples: int) -> float | None:
        """Seconds until so many samples have left a full queue; None where nothing was measured."""
        return samples / (self._lane_samples_per_s * self._lanes) if self._lane_samples_per_s else None

    def _in_time(self, now: float, free: int) -> tuple[list[_Waiting], list[_Waiting]]:
        """The first requests that can fill every free lane, and the late ones among them."""
        ready: list[_Waiting] = []
        expired: list[_Waiting] = []
        room = free * self._sizes.largest if self._sizes else 1
        for waiting in self._queue:
            if room <= 0:
                break
            if waiting.deadline is not None and waiting.deadline <= now:
                expired.append(waiting)
            else:
                ready.append(waiting)
                room -= waiting.samples - waiting.taken
        return ready, expired

    def _fill(self, ready: list[_Waiting], free: int, alone: bool) -> Batch:
        """Take the first of the queue, which are `ready`, as far as there is room."""
        available = sum([waiting.samples - waiting.taken for waiting in ready])
        size, wide = self._sizes.choose(available, free, alone=alone) if self._sizes else (available, False)
        slices = []
        room, whole = size, 0
        for waiting in ready:
            if room == 0:
                break
            start, left = waiting.taken, waiting.samples - waiting.taken
            samples = min(left, room)
            waiting.taken += samples
            room -= samples
            self._queued_samples += min(left - samples, self._largest_held) - min(left, self._largest_held)
            if samples == left:
                del self._by_ticket[waiting.ticket]
                whole += 1
            slices.append(Slice(waiting.ticket, start, waiting.taken))
        del self._queue[:whole]
        self._ideal.serve(size - room)
        self._forget_if_empty()
        return Batch(tuple(slices), size, wide)

    def _remove(self, waiting: _Waiting) -> None:
        place = bisect.bisect_left(self._queue, waiting.ideal_finish, key=_IDEAL_FINISH)
        del self._queue[self._queue.index(waiting, place)]
        del self._by_ticket[waiting.ticket]
        self._queued_samples -= min(waiting.samples - waiting.taken, self._largest_held)
        self._forget_if_empty()

    def _forget_if_empty(self) -> None:
        if not self._queue:  # what the ideal server has left is of requests that were withdrawn or are done
            self._ideal = EqualShares()
