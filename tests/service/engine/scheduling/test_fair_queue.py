"""Shares of keys: what each is given while several wait, and how long a request can wait at most."""

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.interface import Share
from service.engine.scheduling.batch_size import BatchSizer
from service.engine.scheduling.scheduler import Batch, BatchLimits, Scheduler
from service.errors import DeadlinePassed, QueueFull

LARGEST = 64
SIZES = (1, 2, 4, 8, 16, 32, LARGEST)
# A sample alone costs hardly more than in a batch, so that small requests may run by themselves.
LINEAR_S = {size: 0.0002 + 0.001 * size for size in SIZES}
# A run costs about the same whatever its size.
FLAT_S = {size: 0.005 + 0.0002 * size for size in SIZES}
CHUNK = 1024  # of a stream of 50,000
NOW = 100.0
COSTS = pytest.mark.parametrize("costs", [LINEAR_S, FLAT_S], ids=["linear", "flat"])


class Server:
    """One worker, and the samples that each key was given.

    Attributes:
        now: the time in seconds, which runs take.
        computed: samples so far.
        given: by key.
        ended: tickets that are taken whole.
        begun: tickets that a run took a part of, by key.
    """

    def __init__(self, costs: dict[int, float], queue_samples: int = 10**9) -> None:
        self._scheduler = Scheduler(
            BatchLimits(max_batch_samples=LARGEST, queue_samples=queue_samples, queue_wait_s=1e9),
            BatchSizer(SIZES, costs),
        )
        self._costs = costs
        self._left: dict[int, int] = {}
        self._waiting: Counter[str] = Counter()
        self._keys: dict[int, str] = {}
        self.now = NOW
        self.computed = 0
        self.given: Counter[str] = Counter()
        self.ended: set[int] = set()
        self.begun: defaultdict[str, set[int]] = defaultdict(set)

    def admit(self, key: str, samples: int, weight: float = 1.0, within_s: float | None = None) -> int:
        deadline = None if within_s is None else self.now + within_s
        ticket = self._scheduler.admit(samples, deadline, self.now, Share(key, weight))
        self._left[ticket] = samples
        self._keys[ticket] = key
        self._waiting[key] += samples
        return ticket

    def left(self, key: str) -> int:
        """Samples of a key that wait."""
        return self._waiting[key]

    def run(self) -> Batch:
        batch, expired = self._scheduler.take(self.now, alone=True)
        for ticket in expired:
            self._waiting[self._keys[ticket]] -= self._left.pop(ticket)
        assert batch is not None
        self.now += self._costs[batch.size]
        for piece in batch.slices:
            samples = piece.stop - piece.start
            self.computed += samples
            self.given[self._keys[piece.ticket]] += samples
            self._left[piece.ticket] -= samples
            self._waiting[self._keys[piece.ticket]] -= samples
            if not self._left[piece.ticket]:
                del self._left[piece.ticket]
                self.ended.add(piece.ticket)
            else:
                self.begun[self._keys[piece.ticket]].add(piece.ticket)
        return batch


@COSTS
@pytest.mark.parametrize("others", [1, 8, 40])
def test_the_first_sample_of_a_key_is_in_the_next_batch_whatever_others_have_waiting(
    costs: dict[int, float], others: int
) -> None:
    server = Server(costs)
    for number in range(others):
        for _ in range(5):
            server.admit(f"k{number}", CHUNK)
    for _ in range(20):
        server.run()
    one = server.admit("new", 1)
    server.run()
    assert one in server.ended


@COSTS
@pytest.mark.parametrize(
    "weights", [{"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 3.0}, {"a": 0.5, "b": 1.0, "c": 2.0}], ids=str
)
@pytest.mark.parametrize("sizes", [(CHUNK, CHUNK), (CHUNK, 1), (64, 7)], ids=str)
def test_keys_that_always_wait_are_given_samples_in_proportion_to_their_weights(
    costs: dict[int, float], weights: dict[str, float], sizes: tuple[int, int]
) -> None:
    server = Server(costs)
    for _ in range(400):
        for number, (key, weight) in enumerate(weights.items()):
            # The first has few large requests, the others many small ones: their number gives no share.
            requests, samples = (1, sizes[0]) if number == 0 else (3 * LARGEST, sizes[1])
            while server.left(key) < requests * samples:
                server.admit(key, samples, weight)
        server.run()
    total, all_weights = server.given.total(), sum(weights.values())
    for key, weight in weights.items():
        fair = total * weight / all_weights
        assert abs(server.given[key] - fair) <= 2 * LARGEST * weight / min(weights.values())


@COSTS
def test_a_caller_of_single_samples_does_not_wait_for_the_chunks_of_a_stream_that_it_overtook(
    costs: dict[int, float],
) -> None:
    server, longest = Server(costs), 0
    for _ in range(1500):
        if not server.left("stream"):
            server.admit("stream", CHUNK)
        one, before = server.admit("singles", 1), server.computed
        while one not in server.ended:
            server.run()
        longest = max(longest, server.computed - before)
    assert longest <= 2 + 2 * LARGEST
    assert server.given["stream"] >= server.given["singles"] - 2 * LARGEST


@dataclass(frozen=True)
class Step:
    """A request of a key, or a run.

    Attributes:
        key: whose request arrives; None for a run.
    """

    key: str | None
    samples: int


KEYS = ("a", "b", "c", "victim")
STEPS = st.lists(
    st.builds(Step, st.sampled_from([*KEYS, None, None, None]), st.one_of(st.integers(1, 8), st.integers(1, 3000))),
    max_size=60,
)
WEIGHTS = st.fixed_dictionaries({key: st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]) for key in KEYS})


@given(STEPS, WEIGHTS, st.integers(1, 2000), st.sampled_from([LINEAR_S, FLAT_S]))
def test_no_request_waits_for_more_than_the_bound(
    steps: list[Step], weights: dict[str, float], samples: int, costs: dict[int, float]
) -> None:
    server = Server(costs)
    for step in steps:
        if step.key is not None:
            server.admit(step.key, step.samples, weights[step.key])
        elif any(server.left(key) for key in KEYS):
            server.run()
    own = server.left("victim") + samples
    bound: float = own + LARGEST
    for key in KEYS[:-1]:
        share, slack = weights[key] / weights["victim"], weights[key] / min(weights.values())
        bound += share * own + slack * LARGEST
    ticket, before = server.admit("victim", samples, weights["victim"]), server.computed
    while ticket not in server.ended:
        for key in KEYS[:-1]:  # the others never run out
            while server.left(key) < CHUNK:
                server.admit(key, CHUNK, weights[key])
        server.run()
    assert server.computed - before <= bound


@given(WEIGHTS, st.integers(1, 2000), st.lists(st.floats(0.2, 4.0), min_size=1, max_size=9))
def test_what_goes_first_to_be_in_time_is_no_more_than_a_run_of_each_request_that_is_begun(
    weights: dict[str, float], samples: int, deadlines_s: list[float]
) -> None:
    server, patience = Server(FLAT_S), cycle(deadlines_s)

    def fill() -> None:
        for key in KEYS[:-1]:
            with suppress(QueueFull, DeadlinePassed):
                while server.left(key) < CHUNK:
                    server.admit(key, 2 * LARGEST, weights[key], next(patience))

    fill()
    for _ in range(5):
        server.run()
        fill()
    bound: float = samples + LARGEST
    for key in KEYS[:-1]:
        bound += weights[key] / weights["victim"] * samples + weights[key] / min(weights.values()) * LARGEST
    server.begun.clear()
    ticket, before = server.admit("victim", samples, weights["victim"]), server.computed
    while ticket not in server.ended:
        fill()
        server.run()
    others = sum(len(server.begun[key]) for key in KEYS[:-1])
    assert server.computed - before <= bound + others * LARGEST


def test_the_last_samples_of_a_late_request_go_before_another_key_and_are_charged_to_its_own() -> None:
    server = Server(FLAT_S)
    late = server.admit("late", 2 * LARGEST, within_s=2.5 * FLAT_S[LARGEST])
    server.run()
    server.admit("other", CHUNK, weight=4.0)
    server.run()
    assert late in server.ended
    server.admit("late", CHUNK)
    for _ in range(20):
        server.run()
    assert server.given["other"] == pytest.approx(4 / 5 * 22 * LARGEST, abs=2 * LARGEST)


@given(STEPS, WEIGHTS)
def test_every_sample_is_computed_once_and_the_queue_ends_empty(steps: list[Step], weights: dict[str, float]) -> None:
    server, admitted = Server(LINEAR_S), 0
    for step in steps:
        if step.key is not None:
            server.admit(step.key, step.samples, weights[step.key])
            admitted += step.samples
        elif any(server.left(key) for key in KEYS):
            server.run()
    while any(server.left(key) for key in KEYS):
        server.run()
    assert server.computed == admitted


def test_a_key_that_was_away_is_owed_nothing() -> None:
    server = Server(FLAT_S)
    server.admit("early", LARGEST)
    server.admit("busy", CHUNK * 100)
    for _ in range(500):
        server.run()
    server.admit("early", CHUNK * 100)
    before = Counter(server.given)
    for _ in range(100):
        server.run()
    assert abs((server.given["early"] - before["early"]) - (server.given["busy"] - before["busy"])) <= 2 * LARGEST


def test_one_key_cannot_fill_the_queue_for_others() -> None:
    server = Server(LINEAR_S, queue_samples=16 * CHUNK)
    said = "the queue is full of requests with this key; try again later or ask for fewer samples"
    assert _filled(server, "flood") == (8, said)
    assert _filled(server, "another") == (4, said)
    server.admit("third", CHUNK)


def _filled(server: Server, key: str) -> tuple[int, str]:
    """How many chunks a key gets into the queue, and what it is told then."""
    for admitted in range(100):
        try:
            server.admit(key, CHUNK)
        except QueueFull as full:
            return admitted, str(full)
    raise AssertionError("it is never full")
