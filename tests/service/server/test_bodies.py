"""The sum of all bodies: who must make room, and that what leaves is counted no more."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from service.errors import NotReady
from service.server.bodies import Body, BodyBudget

MAX_BYTES = 100


def held(check: Callable[[BodyBudget, ExitStack, list[str]], None]) -> None:
    """Run a check with a budget, bodies that end with it, and the names of those that were turned away."""

    async def scenario() -> None:
        with ExitStack() as bodies:
            check(BodyBudget(MAX_BYTES), bodies, [])

    asyncio.run(scenario())


def body(budget: BodyBudget, bodies: ExitStack, turned_away: list[str], name: str) -> Body:
    return bodies.enter_context(budget.body(lambda _: turned_away.append(name)))


def test_the_largest_that_still_arrives_makes_room_for_the_others() -> None:
    def check(budget: BodyBudget, bodies: ExitStack, turned_away: list[str]) -> None:
        small, large, whole = (body(budget, bodies, turned_away, name) for name in ("small", "large", "whole"))
        whole.grow(50)
        whole.is_whole()
        large.grow(40)
        small.grow(10)
        assert turned_away == []
        small.grow(1)
        assert turned_away == ["large"]
        assert (small.size, large.size) == (11, 0)

    held(check)


def test_who_is_the_largest_is_told_so_itself() -> None:
    def check(budget: BodyBudget, bodies: ExitStack, turned_away: list[str]) -> None:
        small, large = (body(budget, bodies, turned_away, name) for name in ("small", "large"))
        small.grow(20)
        large.grow(80)
        with pytest.raises(NotReady):
            large.grow(1)
        assert turned_away == []

    held(check)


def test_what_was_answered_leaves_its_room_to_the_next() -> None:
    def check(budget: BodyBudget, _: ExitStack, turned_away: list[str]) -> None:
        for _each in range(3):
            with budget.body(lambda _: turned_away.append("first")) as first:
                first.grow(MAX_BYTES)
                first.is_whole()
        assert turned_away == []

    held(check)
