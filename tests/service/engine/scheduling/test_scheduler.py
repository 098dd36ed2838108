"""What runs next: fair, full, bounded, and every sample once."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.scheduling.batch_size import BatchSizer
from service.engine.scheduling.scheduler import Batch, BatchLimits, Scheduler, Slice
from service.errors import DeadlinePassed, QueueFull

POWERS = (1, 2, 4, 8, 16, 32, 64)
NOW = 100.0


def scheduler(buckets: tuple[int, ...] = POWERS, **limits: int) -> Scheduler:
    return Scheduler(BatchLimits(**{"max_batch_samples": 64, **limits}), BatchSizer(buckets) if buckets else None)


def admit(queue: Scheduler, *samples: int) -> list[int]:
    return [queue.admit(each, None, NOW) for each in samples]


def take(queue: Scheduler) -> Batch:
    batch = queue.take(NOW).batch
    assert batch is not None
    return batch


def test_one_sample_that_arrives_behind_many_goes_into_the_next_batch() -> None:
    queue = scheduler()
    many, one = admit(queue, 1024, 1)
    assert take(queue).slices == (Slice(one, 0, 1), Slice(many, 0, 63))


def test_equal_requests_are_served_in_the_order_they_came() -> None:
    queue = scheduler()
    first, second, third, fourth, fifth = admit(queue, 16, 16, 16, 16, 16)
    assert [piece.ticket for piece in take(queue).slices] == [first, second, third, fourth]
    assert [piece.ticket for piece in take(queue).slices] == [fifth]


def test_a_large_request_ends_even_while_small_ones_alone_would_fill_every_batch() -> None:
    queue = scheduler(buckets=(4,))
    (large,) = admit(queue, 40)
    taken = 0
    for _ in range(200):  # were small ones always first, it would wait for ever
        admit(queue, 4)
        taken = max([taken, *(piece.stop for piece in take(queue).slices if piece.ticket == large)])
    assert taken == 40


@pytest.mark.parametrize(("waiting", "size"), [(1, 1), (3, 2), (4, 4), (63, 32), (64, 64), (500, 64)])
def test_a_batch_is_the_largest_bucket_that_is_full(waiting: int, size: int) -> None:
    queue = scheduler()
    (ticket,) = admit(queue, waiting)
    assert take(queue) == Batch((Slice(ticket, 0, size),), size)


@pytest.mark.parametrize(("waiting", "taken", "size"), [(1, 1, 4), (3, 3, 4), (5, 4, 4), (9, 8, 8)])
def test_a_bucket_is_padded_only_where_no_smaller_one_is_allowed(waiting: int, taken: int, size: int) -> None:
    queue = scheduler(buckets=(4, 8))
    (ticket,) = admit(queue, waiting)
    assert take(queue) == Batch((Slice(ticket, 0, taken),), size)


def test_without_buckets_each_request_runs_alone_and_whole() -> None:
    queue = scheduler(buckets=())
    first, second = admit(queue, 100, 3)
    assert take(queue) == Batch((Slice(second, 0, 3),), 3)
    assert take(queue) == Batch((Slice(first, 0, 100),), 100)


def test_without_buckets_free_workers_do_not_put_requests_into_one_batch() -> None:
    queue = Scheduler(BatchLimits(), None, workers=2)
    first, second = admit(queue, 1, 1)
    assert queue.take(NOW, free=2).batch == Batch((Slice(first, 0, 1),), 1)
    assert queue.take(NOW, free=1).batch == Batch((Slice(second, 0, 1),), 1)


def test_an_empty_queue_waits() -> None:
    queue = scheduler()
    assert queue.take(NOW).batch is None
    admit(queue, 1)
    take(queue)
    assert queue.take(NOW).batch is None


def test_what_does_not_fit_is_refused_and_what_just_fits_is_not() -> None:
    queue = scheduler(queue_samples=10, request_queue_samples=10)
    admit(queue, 6)
    with pytest.raises(QueueFull):
        admit(queue, 5)
    admit(queue, 4)
    assert queue.queued_samples == 10


def known(workers: int = 1, **limits: int) -> Scheduler:
    """A queue whose runs take 10 ms a sample; what is around a run is small beside it."""
    return Scheduler(BatchLimits(**limits), BatchSizer((1, 64), {1: 0.01, 64: 0.64}), workers)


def refused(queue: Scheduler, samples: int, deadline: float | None = None, now: float = NOW) -> QueueFull:
    with pytest.raises(QueueFull) as refusal:
        queue.admit(samples, deadline, now)
    return refusal.value


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_says_when_the_queue_will_be_empty_from_the_first_request_on(workers: int) -> None:
    queue = known(workers, queue_samples=320)
    admit(queue, 320)
    assert refused(queue, 4).retry_after_s == pytest.approx(3.2 / workers, rel=0.3)


def test_where_costs_are_not_known_the_first_run_tells_them() -> None:
    queue = scheduler(queue_samples=320)
    admit(queue, 320)
    assert refused(queue, 4).retry_after_s is None
    queue.ran(64, 0.64, NOW)
    assert refused(queue, 4).retry_after_s == pytest.approx(3.2)


def test_runs_that_take_longer_than_at_load_are_reckoned_with_after_a_few() -> None:
    queue = known(queue_samples=320)
    admit(queue, 320)
    for _ in range(40):
        queue.ran(1, 0.03, NOW)
    assert refused(queue, 4).retry_after_s == pytest.approx(3 * 3.2, rel=0.1)


def test_one_run_that_hung_refuses_no_request() -> None:
    queue = known()
    queue.ran(1, 30.0, NOW)
    queue.admit(32, NOW + 1, NOW)
    queue.admit(8, NOW + 1, NOW)


def test_what_cannot_be_done_in_time_behind_the_others_is_refused_at_once_and_what_can_is_not() -> None:
    queue = known()
    admit(queue, 64)
    assert refused(queue, 64, NOW + 1).retry_after_s == pytest.approx(0.64, rel=0.01)
    queue.admit(64, NOW + 2, NOW)


def test_what_no_empty_queue_could_do_in_time_is_late_on_arrival() -> None:
    with pytest.raises(DeadlinePassed, match="longer to compute"):
        known().admit(128, NOW + 1, NOW)


def test_a_request_that_would_wait_too_long_is_refused_though_it_has_time_and_there_is_room() -> None:
    queue = known()
    admit(queue, *[64] * 8)  # 5.12 s
    assert refused(queue, 64).retry_after_s == pytest.approx(5.12, rel=0.01)
    admit(queue, 1)  # whose turn is before theirs


def test_a_sample_is_not_refused_for_the_many_behind_it() -> None:
    queue = known()
    admit(queue, 400)
    one = queue.admit(1, NOW + 1, NOW)
    assert take(queue).slices[0].ticket == one


def test_a_sample_beside_a_request_of_many_batches_has_a_run_of_its_own_where_that_costs_no_more() -> None:
    queue = known()
    many, one = admit(queue, 400, 1)
    assert take(queue) == Batch((Slice(one, 0, 1),), 1)
    assert take(queue) == Batch((Slice(many, 0, 64),), 64)
    dear = Scheduler(BatchLimits(), BatchSizer((1, 64), {1: 0.5, 64: 0.64}))
    many, one = admit(dear, 400, 1)
    assert take(dear) == Batch((Slice(one, 0, 1), Slice(many, 0, 63)), 64)


def test_what_can_no_longer_be_done_in_time_is_not_begun() -> None:
    queue = known()
    late = queue.admit(64, NOW + 1, NOW)
    kept = queue.admit(64, NOW + 2, NOW)
    decision = queue.take(NOW + 0.5)
    assert decision.expired == (late,)
    assert decision.batch == Batch((Slice(kept, 0, 64),), 64)


def test_what_one_run_more_would_finish_goes_first_where_it_would_be_late_otherwise() -> None:
    queue = known()
    split = queue.admit(128, NOW + 1.5, NOW)
    assert take(queue).slices == (Slice(split, 0, 64),)
    admit(queue, *[1] * 64)
    assert queue.take(NOW + 0.7).batch == Batch((Slice(split, 64, 128),), 64)


def test_what_was_learned_is_forgotten_where_nothing_has_run_for_a_while() -> None:
    """Else an estimate that nothing corrects would refuse every request."""
    queue = known()
    for _ in range(20):
        queue.ran(1, 0.03, NOW)
    with pytest.raises(DeadlinePassed):
        queue.admit(64, NOW + 1, NOW)
    later = NOW + 60
    queue.admit(64, later + 1, later)


def test_a_run_too_short_for_the_clock_measures_nothing() -> None:
    queue = scheduler(queue_samples=1, request_queue_samples=1)
    admit(queue, 1)
    queue.ran(8, 0.0, NOW)
    assert refused(queue, 1).retry_after_s is None


def test_a_large_request_holds_only_its_share_of_the_queue_and_is_never_refused_half_way() -> None:
    queue = scheduler(queue_samples=100, request_queue_samples=50)
    large, other = admit(queue, 5000, 5000)
    assert queue.queued_samples == 100
    with pytest.raises(QueueFull):
        admit(queue, 1)
    seen = {large: 0, other: 0}
    while (batch := queue.take(NOW).batch) is not None:
        for piece in batch.slices:
            assert piece.start == seen[piece.ticket]
            seen[piece.ticket] = piece.stop
    assert seen == {large: 5000, other: 5000}


def test_a_request_larger_than_the_whole_queue_is_taken_where_the_queue_is_empty() -> None:
    queue = scheduler(queue_samples=10, request_queue_samples=50)
    admit(queue, 5000)
    assert queue.queued_samples == 10
    with pytest.raises(QueueFull):
        admit(queue, 1)


def test_withdrawing_a_request_makes_room_and_leaves_the_others() -> None:
    queue = scheduler(queue_samples=10, request_queue_samples=10)
    gone, kept = admit(queue, 6, 4)
    queue.withdraw(gone)
    assert queue.queued_samples == 4
    admit(queue, 6)
    assert all(piece.ticket != gone for piece in take(queue).slices)
    assert kept is not None


def test_withdrawn_requests_take_no_share_from_those_that_stay() -> None:
    """They would hold up the ideal server, and later requests would overtake the large one again and again."""
    queue = scheduler(buckets=(4,))
    (large,) = admit(queue, 40)
    for gone in admit(queue, *[100] * 50):
        queue.withdraw(gone)
    taken = 0
    for _ in range(200):
        admit(queue, 4)
        taken = max([taken, *(piece.stop for piece in take(queue).slices if piece.ticket == large)])
    assert taken == 40


def test_a_queue_that_was_emptied_starts_afresh() -> None:
    queue = scheduler(buckets=(1, 10))
    _, gone = admit(queue, 10, 10)
    take(queue)
    queue.withdraw(gone)  # the ideal server still owes five samples to the first
    (waiting,) = admit(queue, 6)
    assert take(queue).slices == (Slice(waiting, 0, 1),)
    admit(queue, 5)
    assert take(queue).slices[0].ticket == waiting


def test_withdrawing_what_has_left_the_queue_changes_nothing() -> None:
    queue = scheduler()
    done, waiting = admit(queue, 64, 64)
    take(queue)
    queue.withdraw(done)
    assert take(queue).slices == (Slice(waiting, 0, 64),)


def test_a_late_request_is_refused_on_arrival() -> None:
    with pytest.raises(DeadlinePassed):
        scheduler().admit(1, NOW, NOW)


def test_a_request_that_became_late_is_not_run_but_reported_once() -> None:
    queue = scheduler()
    late = queue.admit(3, NOW + 1, NOW)
    kept = queue.admit(4, NOW + 9, NOW)
    decision = queue.take(NOW + 1)
    assert decision.expired == (late,)
    assert decision.batch == Batch((Slice(kept, 0, 4),), 4)
    assert queue.take(NOW + 1).expired == ()
    assert queue.queued_samples == 0


@dataclass
class ProcessorSharing:
    """The ideal server, literally: every waiting request gets the same amount at every instant."""

    left: dict[int, Fraction] = field(default_factory=dict)

    def serve(self, amount: Fraction) -> None:
        while amount > 0 and self.left:
            share = min(*self.left.values(), amount / len(self.left))
            amount -= share * len(self.left)
            self.left = {ticket: left - share for ticket, left in self.left.items() if left > share}


sizes = st.integers(1, 12)
steps = st.lists(sizes | st.none(), max_size=40)  # a request of so many samples, or a free runner
some_buckets = st.sampled_from([(1, 2, 4, 8), (4,), (1,), (2, 3, 8)])


@given(steps=steps, buckets=some_buckets, free=st.integers(1, 3))
def test_no_request_is_done_later_than_with_processor_sharing(
    steps: list[int | None], buckets: tuple[int, ...], free: int
) -> None:
    queue, ideal = scheduler(buckets), ProcessorSharing()
    left: dict[int, int] = {}
    for step in steps + [None] * 200:
        if step is not None:
            ticket = queue.admit(step, None, NOW)
            left[ticket] = step
            ideal.left[ticket] = Fraction(step)
        elif (batch := queue.take(NOW, free).batch) is not None:
            for piece in batch.slices:
                left[piece.ticket] -= piece.stop - piece.start
            ideal.serve(Fraction(sum(piece.stop - piece.start for piece in batch.slices)))
            late = [ticket for ticket, samples in left.items() if samples > 0 and ticket not in ideal.left]
            assert late == []
    assert all(samples == 0 for samples in left.values())


@dataclass
class Ledger:
    """What a queue should hold, kept by hand."""

    samples: int
    taken: int = 0


actions = st.lists(
    st.tuples(st.just("admit"), st.integers(1, 30))
    | st.tuples(st.just("take"), st.just(0))
    | st.tuples(st.just("withdraw"), st.integers(0, 20)),
    max_size=60,
)


@given(actions=actions, buckets=some_buckets)
def test_whatever_happens_every_sample_is_run_once_and_the_queue_is_bounded(
    actions: list[tuple[str, int]], buckets: tuple[int, ...]
) -> None:
    queue = scheduler(buckets, queue_samples=40, request_queue_samples=10)
    ledger: dict[int, Ledger] = {}
    refused = 0

    def queued() -> int:
        return sum(min(entry.samples - entry.taken, 10) for entry in ledger.values())

    def run() -> bool:
        batch = queue.take(NOW).batch
        if batch is None:
            return False
        assert batch.size in buckets
        assert len({piece.ticket for piece in batch.slices}) == len(batch.slices) > 0
        assert sum(piece.stop - piece.start for piece in batch.slices) <= batch.size
        for piece in batch.slices:
            assert piece.start == ledger[piece.ticket].taken < piece.stop <= ledger[piece.ticket].samples
            ledger[piece.ticket].taken = piece.stop
        return True

    for action, number in actions:
        if action == "take":
            run()
        elif action == "withdraw":
            queue.withdraw(number)
            ledger.pop(number, None)
        elif queued() + min(number, 10) <= 40:
            ledger[queue.admit(number, None, NOW)] = Ledger(number)
        else:
            refused += 1
            with pytest.raises(QueueFull):
                queue.admit(number, None, NOW)
        assert queue.queued_samples == queued() <= 40
    while run():
        pass
    assert all(entry.taken == entry.samples for entry in ledger.values())
    assert queue.queued_samples == 0


@given(arrivals=st.lists(sizes, min_size=1, max_size=30), buckets=some_buckets)
def test_the_same_calls_give_the_same_batches(arrivals: list[int], buckets: tuple[int, ...]) -> None:
    def batches() -> list[Batch]:
        queue = scheduler(buckets)
        admit(queue, *arrivals)
        return [take(queue) for _ in range(math.ceil(sum(arrivals) / buckets[-1]))]

    assert batches() == batches()


def test_waiting_samples_are_split_between_the_free_workers() -> None:
    queue = scheduler()
    (ticket,) = admit(queue, 16)
    assert queue.take(NOW, free=2).batch == Batch((Slice(ticket, 0, 8),), 8)
    assert queue.take(NOW, free=1).batch == Batch((Slice(ticket, 8, 16),), 8)


def test_a_lone_sample_runs_on_all_cores_only_where_nothing_else_runs() -> None:
    for alone in (True, False):
        queue = Scheduler(BatchLimits(), BatchSizer((1, 2), {1: 1.0, 2: 2.0}, {1: 0.5}), workers=2)
        (ticket,) = admit(queue, 1)
        assert queue.take(NOW, free=2, alone=alone).batch == Batch((Slice(ticket, 0, 1),), 1, all_cores=alone)


def on_a_device(single_thread_s: dict[int, float]) -> Scheduler:
    sizes = BatchSizer(tuple(single_thread_s), single_thread_s, on_device=True)
    return Scheduler(BatchLimits(queue_wait_s=math.inf), sizes)


def test_on_a_device_whose_runs_cost_the_same_63_waiting_samples_are_one_run_of_64() -> None:
    queue = on_a_device(dict.fromkeys(POWERS, 3e-4))
    admit(queue, *[1] * 63)
    batch = take(queue)
    assert (len(batch.slices), batch.size) == (63, 64)
    assert queue.queued_samples == 0


def test_on_a_device_the_time_of_a_queue_is_that_of_its_padded_runs() -> None:
    queue = on_a_device(dict.fromkeys(POWERS, 1.0))
    assert queue.expected_s(63) == pytest.approx(1.0, rel=1e-2)
    assert queue.expected_s(65) == pytest.approx(2.0, rel=1e-2)


def test_a_batch_pays_ahead_where_it_fills_the_largest_run() -> None:
    queue = on_a_device(dict.fromkeys(POWERS, 3e-4))
    assert not queue.pays_ahead()
    admit(queue, 31)
    assert not queue.pays_ahead()
    admit(queue, 33)
    assert queue.pays_ahead()


def test_a_batch_pays_ahead_where_its_samples_would_cost_no_less_in_a_larger_one() -> None:
    queue = on_a_device({size: size * 1e-4 for size in POWERS})
    assert not queue.pays_ahead()
    admit(queue, 1)
    assert queue.pays_ahead()


def test_without_sizes_every_request_pays_ahead() -> None:
    queue = scheduler(buckets=())
    assert not queue.pays_ahead()
    admit(queue, 1)
    assert queue.pays_ahead()
