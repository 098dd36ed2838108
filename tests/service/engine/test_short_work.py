"""What the event loop's thread computes itself: never what holds it long, never what nobody knows the cost of."""

from hypothesis import given
from hypothesis import strategies as st

from service.engine.run_sizes import HAND_OVER_S, RunSizes
from service.engine.short_work import HOLD_S, LONE_HOLD_S, PUT_OFF_BATCHES, ShortWork

POWERS = (1, 2, 4, 8, 16, 32, 64)
MS = 1e-3
CHEAP = RunSizes(POWERS, dict.fromkeys(POWERS, 0.1 * HAND_OVER_S))
SLOW = RunSizes(POWERS, {size: size * MS for size in POWERS}, {1: 0.6 * MS})


def is_short(sizes: RunSizes, available: int, *, lone: bool, elements: int = 100, on_cpu: bool = True) -> bool:
    return ShortWork(sizes, elements, on_cpu=on_cpu).is_short(available, 2, alone=True, lone=lone)


def test_a_run_that_costs_less_than_handing_it_over_is_short_for_everybody() -> None:
    assert all(is_short(CHEAP, waiting, lone=lone) for waiting in (1, 64, 500) for lone in (True, False))


def test_a_run_that_costs_more_is_short_for_a_lone_caller_only() -> None:
    assert is_short(SLOW, 1, lone=True)
    assert not is_short(SLOW, 1, lone=False)


def test_what_a_lone_caller_waits_for_is_short_only_as_a_whole() -> None:
    assert not is_short(SLOW, 2, lone=True)  # the other lane takes the other sample
    assert not is_short(SLOW, 4, lone=True)
    one_lane = ShortWork(SLOW, 100, on_cpu=True)
    assert one_lane.is_short(2, 1, alone=True, lone=True)
    assert not one_lane.is_short(3, 1, alone=True, lone=True)


def test_beside_the_run_of_another_graph_nobody_is_lone() -> None:
    assert not ShortWork(SLOW, 100, on_cpu=True).is_short(1, 2, alone=False, lone=True)


def test_inputs_that_take_long_to_draw_are_a_lanes_work() -> None:
    assert not is_short(CHEAP, 64, lone=True, elements=2_000)
    assert is_short(CHEAP, 1, lone=True, elements=2_000)


def test_what_another_device_computes_is_short_for_a_lone_caller_only() -> None:
    assert not is_short(CHEAP, 1, lone=False, on_cpu=False)
    assert is_short(CHEAP, 1, lone=True, on_cpu=False)


def test_where_costs_are_not_known_nothing_is_short() -> None:
    assert not is_short(RunSizes(POWERS), 1, lone=True)


def test_after_a_batch_that_held_the_loop_too_long_the_next_ones_are_not_short() -> None:
    work = ShortWork(CHEAP, 100, on_cpu=True)
    work.took(LONE_HOLD_S)
    assert work.is_short(1, 2, alone=True, lone=True)
    work.took(3 * LONE_HOLD_S)
    asked = [work.is_short(1, 2, alone=True, lone=True) for _ in range(PUT_OFF_BATCHES + 1)]
    assert asked == [False] * PUT_OFF_BATCHES + [True]


costs = st.floats(1e-6, 1e-1)


@given(
    narrow_s=st.fixed_dictionaries(dict.fromkeys(POWERS, costs)),
    wide_s=st.fixed_dictionaries({}, optional=dict.fromkeys(POWERS, costs)),
    available=st.integers(1, 200),
    elements=st.integers(1, 3_000),
    lone=st.booleans(),
)
def test_whatever_runs_cost_the_loop_is_not_held_longer_than_it_may(
    narrow_s: dict[int, float], wide_s: dict[int, float], available: int, elements: int, *, lone: bool
) -> None:
    sizes = RunSizes(POWERS, narrow_s, wide_s)
    if is_short(sizes, available, lone=lone, elements=elements):
        size, wide = sizes.choose(available, 2, alone=True)
        assert (wide_s if wide else narrow_s)[size] < (LONE_HOLD_S if lone else min(HOLD_S, HAND_OVER_S))
        assert available <= size or (wide_s if wide else narrow_s)[size] < HAND_OVER_S
