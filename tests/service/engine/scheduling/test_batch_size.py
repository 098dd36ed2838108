"""How much a run takes, and on how many cores: as soon done as the costs allow."""

from hypothesis import given
from hypothesis import strategies as st

from service.engine.scheduling.batch_size import HAND_OVER_S, SAMPLE_S, BatchSizer

POWERS = (1, 2, 4, 8, 16, 32, 64)
MS = 1e-3
# A convolutional generator on two cores: batching gains nothing, the second thread of a run gains half.
SLOW = {size: size * MS for size in POWERS}
ON_ALL_CORES = {size: 0.6 * size * MS for size in POWERS}
LONE = BatchSizer(POWERS, SLOW, {1: 0.6 * MS})


def test_where_costs_are_unknown_waiting_samples_are_split_between_the_free_workers() -> None:
    sizes = BatchSizer(POWERS)
    assert sizes.choose(16, free=1, alone=True) == (16, False)
    assert sizes.choose(16, free=2, alone=True) == (8, False)
    assert sizes.choose(500, free=2, alone=True) == (64, False)


def test_a_share_that_no_bucket_fits_is_rounded_down_so_that_the_others_get_theirs() -> None:
    assert BatchSizer(POWERS).choose(5, free=2, alone=True) == (2, False)
    assert BatchSizer((4, 8)).choose(9, free=2, alone=True) == (4, False)


def test_less_than_the_smallest_bucket_is_padded() -> None:
    assert BatchSizer((4, 8)).choose(1, free=2, alone=True) == (4, False)


def test_a_lone_sample_runs_on_all_cores_where_that_is_faster() -> None:
    assert LONE.choose(1, free=2, alone=True) == (1, True)
    assert BatchSizer(POWERS, SLOW, {1: 1.1 * MS}).choose(1, free=2, alone=True) == (1, False)


def test_beside_other_runs_nothing_runs_on_all_cores() -> None:
    assert LONE.choose(1, free=2, alone=False) == (1, False)


def test_what_two_workers_do_sooner_than_one_run_on_all_cores_is_split() -> None:
    sizes = BatchSizer(POWERS, SLOW, ON_ALL_CORES)
    assert sizes.choose(2, free=2, alone=True) == (1, False)
    fast_on_all_cores = BatchSizer(POWERS, SLOW, {2: 0.9 * MS})
    assert fast_on_all_cores.choose(2, free=2, alone=True) == (2, True)


def test_a_run_on_all_cores_takes_everything_or_does_not_begin() -> None:
    quick = dict.fromkeys(POWERS, 0.1 * MS)
    sizes = BatchSizer((1, 2, 4), {1: 1 * MS, 2: 2 * MS, 4: 4 * MS}, quick)
    assert sizes.choose(2, free=2, alone=True) == (2, True)
    assert sizes.choose(3, free=2, alone=True) == (2, False)


def test_what_costs_less_than_handing_it_over_is_not_split() -> None:
    cheap = BatchSizer(POWERS, dict.fromkeys(POWERS, 0.1 * HAND_OVER_S))
    assert cheap.choose(64, free=2, alone=True) == (64, False)


def test_a_second_worker_pays_where_runs_take_longer_than_the_python_around_them() -> None:
    assert BatchSizer(POWERS).pays_to_hand_over
    assert LONE.pays_to_hand_over
    assert not BatchSizer(POWERS, {size: 0.5 * SAMPLE_S * size for size in POWERS}).pays_to_hand_over


def test_no_batch_is_longer_than_pays() -> None:
    assert LONE.largest == 16
    a_little_cheaper = {size: (size + 1) * MS for size in POWERS}
    assert BatchSizer(POWERS, a_little_cheaper).largest == 16


def test_a_batch_is_as_large_as_makes_its_samples_cheaper() -> None:
    on_a_gpu = BatchSizer(POWERS, dict.fromkeys(POWERS, 40 * MS))
    assert on_a_gpu.largest == 64
    heavy_layers = {size: (100 + 10 * size) * MS for size in POWERS}
    assert BatchSizer(POWERS, heavy_layers).largest == 64


@given(noise=st.lists(st.floats(1, 1.08), min_size=len(POWERS), max_size=len(POWERS)))
def test_where_larger_batches_are_slower_every_start_chooses_alike_whatever_the_noise_of_its_costs(
    noise: list[float],
) -> None:
    a_sample = (1.34, 1.25, 1.24, 1.24, 1.25, 1.29, 1.30)  # ms, of a convolutional generator that outgrows the caches
    single_thread_s = {size: size * each * by * MS for size, each, by in zip(POWERS, a_sample, noise, strict=True)}
    assert BatchSizer(POWERS, single_thread_s).largest == 16


costs = st.floats(1e-6, 1e-1)


@st.composite
def some_sizes(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[int, float], dict[int, float]]:
    buckets = tuple(sorted(draw(st.sets(st.integers(1, 64), min_size=1, max_size=7))))
    known, has_all_cores = draw(st.booleans()), draw(st.booleans())
    single_thread_s = {size: draw(costs) for size in buckets} if known else {}
    all_cores_s = {size: draw(costs) for size in buckets} if known and has_all_cores else {}
    return buckets, single_thread_s, all_cores_s


@given(known=some_sizes(), available=st.integers(1, 200), free=st.integers(1, 8), alone=st.booleans())
def test_whatever_runs_cost_a_run_is_a_bucket_full_or_the_smallest(
    known: tuple[tuple[int, ...], dict[int, float], dict[int, float]], available: int, free: int, *, alone: bool
) -> None:
    buckets, single_thread_s, all_cores_s = known
    size, all_cores = BatchSizer(buckets, single_thread_s, all_cores_s).choose(available, free, alone=alone)
    assert size in buckets
    assert size <= available or size == buckets[0]
    assert alone or not all_cores
    assert not all_cores or available <= size


def on_a_device(single_thread_s: dict[int, float]) -> BatchSizer:
    return BatchSizer(tuple(single_thread_s), single_thread_s, on_device=True)


CONSTANT = dict.fromkeys(POWERS, 0.3 * MS)


def test_on_a_device_whose_runs_cost_the_same_63_samples_are_one_run_of_64() -> None:
    assert on_a_device(CONSTANT).choose(63, free=1, alone=True) == (64, False)
    assert BatchSizer(POWERS, CONSTANT).choose(63, free=1, alone=True) == (32, False)


def test_on_a_device_a_lone_sample_is_not_padded() -> None:
    assert on_a_device(CONSTANT).choose(1, free=1, alone=True) == (1, False)


def test_on_a_device_whose_runs_cost_as_much_as_their_rows_a_run_is_full() -> None:
    assert on_a_device(SLOW).choose(15, free=1, alone=True) == (8, False)


def test_on_a_device_the_cheaper_is_chosen() -> None:
    sizes = on_a_device({16: 1.0 * MS, 64: 2.5 * MS})
    assert sizes.choose(32, free=1, alone=True) == (16, False)  # 1 + 1 ms, and a hand-over, for 2.5
    assert sizes.choose(33, free=1, alone=True) == (64, False)  # 2.5 ms for 1 + 1 + 1


def test_on_a_device_of_unknown_costs_a_run_is_full() -> None:
    assert BatchSizer(POWERS, on_device=True).choose(63, free=1, alone=True) == (32, False)


def test_on_a_device_few_samples_pay_alone_only_by_what_they_are_without_padding() -> None:
    assert not on_a_device(CONSTANT).pays_alone(63 // 2)
    assert on_a_device(CONSTANT).pays_alone(60)
    assert on_a_device(SLOW).pays_alone(1)


@given(known=some_sizes(), samples=st.integers(1, 200))
def test_on_a_device_no_samples_cost_more_than_in_full_runs(
    known: tuple[tuple[int, ...], dict[int, float], dict[int, float]], samples: int
) -> None:
    buckets, single_thread_s, _ = known

    def cost_s(sizes: BatchSizer) -> float:
        left, total = samples, -HAND_OVER_S
        while left > 0:
            size, _ = sizes.choose(left, free=1, alone=False)
            total += single_thread_s.get(size, size) + HAND_OVER_S
            left -= size
        return total

    rounding = BatchSizer(buckets, single_thread_s, on_device=True)
    assert cost_s(rounding) <= cost_s(BatchSizer(buckets, single_thread_s)) * (1 + 1e-9)
