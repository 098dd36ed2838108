"""The order in which requests are served: fair between keys by their weights, and within a key between requests.

    key alice, weight 1   [ 1 | 1024 ·········· ]  ─┐  merged by tags
    key bob, weight 2     [ 64 | 64 | 1024 ····· ] ─┴▶ [ 1 | 64 | 64 | ····· ]

Within a key requests are ordered by their virtual finish under processor sharing: a small one that arrives behind a
large one comes first. Between keys the next piece of a request, as large as the largest run at most, has a tag, at
which it would be done if the keys were served at the same time, in proportion to their weights: what the key was given
so far, what is ahead of the piece and itself, divided by the weight. Pieces are served in the order of their tags, so
that a key has its share at all times but for a piece and the batch in progress. Requests without a key are those of one
key.

So a request of n samples waits for no more than T samples, where S is the largest run, N is n and what the key's own
requests have ahead of it, w its weight, and the sum is over the other keys that wait:

    T = N + S + Σ (w_k / w · N + w_k / w_min · S)

and what is brought forward: the last samples of a request that is begun and would be late otherwise, at most S for each
worker, go before those of other keys, too, and count as given to its key.

A key that comes back begins where it ended, or where the least served of those that wait is, if that is further: what
it did not use while it was away is not owed to it.

References:
    Parekh and Gallager, A generalized processor sharing approach to flow control (1993): the bound.
    Goyal, Vin and Cheng, Start-time fair queueing (1996): where a key that comes back begins.
    Friedman and Henderson, Fairness and efficiency in web server protocols (2003): never later than equal shares.
"""

import bisect
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from service.engine.interface import Share
from service.engine.scheduling.arrivals import Arrivals

_TURN = attrgetter("turn")
# Before any virtual finish.
FIRST = -1.0


class ProcessorSharing:
    """The ideal server. Its time is the number of samples that each waiting request has been given so far."""

    def __init__(self) -> None:
        self._time = 0.0
        self._finishes: list[float] = []  # ascending

    def finish_of(self, samples: int) -> float:
        """The virtual finish of a request that arrives now."""
        return self._time + samples

    def add(self, finish: float) -> None:
        """Add a request by its virtual finish."""
        bisect.insort(self._finishes, finish)

    def remove(self, finish: float) -> None:
        """Remove a request that will not be finished, unless the ideal server has finished it already."""
        place = bisect.bisect_left(self._finishes, finish)
        if self._finishes[place : place + 1] == [finish]:
            del self._finishes[place]

    def serve(self, samples: int) -> None:
        """Share `samples` out equally."""
        left = float(samples)
        while self._finishes:
            until_the_next_finish = (self._finishes[0] - self._time) * len(self._finishes)
            if left < until_the_next_finish:
                self._time += left / len(self._finishes)
                return
            self._time = self._finishes.pop(0)
            left -= until_the_next_finish


class Flow:
    """The requests of one key.

    Attributes:
        weight: of the key.
        given: samples that it was given, divided by its weight.
        left_samples: of its requests, that no batch has taken.
        held_samples: of them, those that count as queued.
        queue: its requests, by turn, then by arrival.
        ideal: the ideal server of these.
        arrivals: what was admitted, by time.
    """

    __slots__ = ("arrivals", "given", "held_samples", "ideal", "left_samples", "queue", "weight")

    def __init__(self, given: float) -> None:
        self.weight = 1.0
        self.given = given
        self.left_samples = 0
        self.held_samples = 0
        self.queue: list[Waiting] = []
        self.ideal = ProcessorSharing()
        self.arrivals = Arrivals()


@dataclass(eq=False, slots=True)
class Waiting:
    """A request with samples in the queue.

    Attributes:
        left: samples that no batch has taken.
        finish: its virtual finish.
        turn: its place among those of its key: the virtual finish, unless it was brought forward.
        flow: of its key.
    """

    ticket: int
    samples: int
    deadline: float | None
    left: int
    finish: float
    turn: float
    flow: Flow


class FairQueue:
    """Every waiting request of one graph.

    Args:
        piece_samples: in which requests are served, so that a key waits for so many of another and not for all of them.
    """

    def __init__(self, piece_samples: int) -> None:
        self._piece_samples = piece_samples
        self._flows: dict[str, Flow] = {}
        self._active: list[Flow] = []  # those that have requests

    def flow(self, share: Share) -> Flow:
        """The flow that a request of this share joins if it arrives now."""
        flow = self._flows.get(share.name)
        if flow is None:
            flow = self._flows[share.name] = Flow(0.0)
        if not flow.queue and self._active:
            flow.given = max(flow.given, min([each.given for each in self._active]))
        flow.weight = share.weight
        return flow

    def add(self, waiting: Waiting) -> None:
        """Add a request to its flow."""
        flow = waiting.flow
        if not flow.queue:
            self._active.append(flow)
        flow.ideal.add(waiting.finish)
        bisect.insort(flow.queue, waiting, key=_TURN)
        flow.left_samples += waiting.left

    def remove(self, waiting: Waiting) -> None:
        """Remove a request, with what is left of it."""
        flow = waiting.flow
        del flow.queue[_place_of(waiting)]
        flow.left_samples -= waiting.left
        if flow.queue:
            flow.ideal.remove(waiting.finish)
        else:
            self._leave(flow)

    def bring_forward(self, waiting: Waiting) -> None:
        """Put a request before all others."""
        queue = waiting.flow.queue
        del queue[_place_of(waiting)]
        waiting.turn = FIRST
        bisect.insort(queue, waiting, key=_TURN)

    def in_order(self) -> Iterable[Waiting]:
        """The requests in the order in which their next pieces are served."""
        if len(self._active) == 1:
            return self._active[0].queue
        tagged = [_tagged(flow, number, self._piece_samples) for number, flow in enumerate(self._active)]
        return (waiting for *_, waiting in heapq.merge(*tagged))

    def ahead_of(self, flow: Flow, turn: float, samples: int = 0, *, within_s: float = 0.0, now: float = 0.0) -> int:
        """Samples that are served before a request is done, its own left out.

        Args:
            flow: of the request.
            turn: of the request; those of its flow with the same turn are ahead of it.
            samples: of a request that arrives; of one that waits none, since what is left of it is counted as ahead.
            within_s: what is expected to be admitted in so many seconds counts too, where it overtakes the request.
            now: the time in seconds, from which those count.
        """
        queue = flow.queue
        place = bisect.bisect_right(queue, turn, key=_TURN)
        if place <= len(queue) // 2:
            ahead = sum([waiting.left for waiting in queue[:place]])
        else:
            ahead = flow.left_samples - sum([waiting.left for waiting in queue[place:]])
        ahead += flow.arrivals.expected_smaller(samples, within_s, now)
        others = [each for each in self._active if each is not flow]
        if not others:
            return ahead
        tag = flow.given + (ahead + samples) / flow.weight
        by_share = [math.ceil(max(0.0, tag - each.given) * each.weight) for each in others]
        in_all = [each.left_samples + each.arrivals.expected(within_s, now) for each in others]
        return ahead + sum(map(min, by_share, in_all))

    def served(self, by_flow: Mapping[Flow, tuple[int, int]]) -> None:
        """Note a batch, whose samples are no longer `left` in its requests.

        Args:
            by_flow: how many samples each flow was given, and how many of its first requests are taken whole.
        """
        for flow, (samples, whole) in by_flow.items():
            del flow.queue[:whole]
            flow.left_samples -= samples
            flow.given += samples / flow.weight
            if flow.queue:
                flow.ideal.serve(samples)
            else:
                self._leave(flow)

    def _leave(self, flow: Flow) -> None:
        """Take a flow out that has no requests; when none has any, there is nothing to be fair about."""
        flow.ideal = ProcessorSharing()  # what it has left is of requests that were withdrawn or are done
        self._active.remove(flow)
        if self._active:
            return
        if len(self._flows) > 1:
            self._flows.clear()
        flow.given = 0.0


def _tagged(flow: Flow, number: int, piece_samples: int) -> Iterator[tuple[float, int, Waiting]]:
    """The requests of a flow with their tags, ascending; equal tags of two flows are told apart by their numbers."""
    ahead = 0
    for waiting in flow.queue:
        tag = flow.given + (ahead + min(waiting.left, piece_samples)) / flow.weight
        yield FIRST if waiting.turn == FIRST else tag, number, waiting
        ahead += waiting.left


def _place_of(waiting: Waiting) -> int:
    queue = waiting.flow.queue
    return queue.index(waiting, bisect.bisect_left(queue, waiting.turn, key=_TURN))
