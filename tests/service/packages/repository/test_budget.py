"""The arithmetic of the memory budget, and turns in memory."""

import pytest

from service.engine.model_spec import PackageKey
from service.packages.repository.budget import (
    TURNS_AT_ONCE_S,
    TURNS_SHARE,
    Loaded,
    MemoryBudget,
    TurnAllowance,
    victims,
)

A, B, C, D = (PackageKey(name, 1) for name in "abcd")


def test_the_least_recently_used_that_are_idle_make_room_and_no_more_of_them_than_are_needed() -> None:
    loaded = [
        Loaded(A, 10, pinned=True, last_used=0),
        Loaded(B, 10, jobs=1, last_used=1),
        Loaded(C, 10, last_used=3),
        Loaded(D, 10, last_used=2),
    ]
    assert victims(loaded, 0) == []
    assert victims(loaded, 1) == victims(loaded, 10) == [D]
    assert victims(loaded, 11) == [D, C]
    assert victims(loaded, 21) is None


def test_a_small_package_is_spared_where_a_large_one_that_goes_makes_room_enough() -> None:
    loaded = [Loaded(A, 1, last_used=1), Loaded(B, 20, last_used=2), Loaded(C, 20, last_used=3)]
    assert victims(loaded, 20) == [B]
    assert victims(loaded, 21) == [A, B]


def test_what_is_leaving_counts_as_room_to_come() -> None:
    loaded = [Loaded(A, 10, leaving=True), Loaded(B, 10)]
    assert victims(loaded, 10) == []
    assert victims(loaded, 15) == [B]


def test_a_package_takes_the_most_of_its_loads() -> None:
    budget = MemoryBudget(0)
    assert [budget.record(A, taken) for taken in (400, 900, 300)] == [400, 900, 900]
    assert budget.measured(A) == 900
    budget.forget(A)
    assert budget.measured(A) is None


def test_a_refusal_says_how_much_is_taken_and_how_much_is_left_beside_what() -> None:
    budget = MemoryBudget(100 * 1024 * 1024)
    stays = [Loaded(A, 60 * 1024 * 1024, pinned=True)]
    assert budget.refusal(40 * 1024 * 1024, stays) is None
    assert budget.refusal(41 * 1024 * 1024, stays) == (
        "it takes 41.0 MiB of memory, and GANYMEDE_MEMORY_BUDGET leaves 40.0 MiB of 100.0 MiB beside what is never "
        "unloaded (a/1); raise it, or publish a smaller package"
    )


def test_turns_take_a_share_of_the_time_beyond_what_is_saved() -> None:
    allowance = TurnAllowance(now=0)
    assert allowance.wait_s(now=0) == 0
    allowance.spend(TURNS_AT_ONCE_S, now=0)
    assert allowance.wait_s(now=0) == 0
    allowance.spend(2, now=0)
    assert allowance.wait_s(now=0) == pytest.approx(2 / TURNS_SHARE)
    assert allowance.wait_s(now=2 / TURNS_SHARE) == pytest.approx(0)


def test_an_hour_without_turns_saves_no_more_than_the_limit() -> None:
    allowance = TurnAllowance(now=0)
    allowance.spend(TURNS_AT_ONCE_S + 1, now=3600)
    assert allowance.wait_s(now=3600) == pytest.approx(1 / TURNS_SHARE)


@pytest.mark.parametrize("load_s", [0.1, 2.0, 30.0])
def test_packages_that_take_turns_for_ever_keep_a_core_busy_for_the_share_at_most(load_s: float) -> None:
    now, busy_s, allowance = 0.0, 0.0, TurnAllowance(now=0)
    while now < 100_000:
        now += allowance.wait_s(now) + load_s
        allowance.spend(load_s, now)
        busy_s += load_s
    assert busy_s / now == pytest.approx(TURNS_SHARE, rel=0.02)
