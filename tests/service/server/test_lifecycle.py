"""What the process knows of its requests in flight."""

import asyncio
from contextlib import ExitStack

from service.errors import QueueFull
from service.server.lifecycle import Lifecycle


def test_waiting_for_what_is_being_answered_does_not_wait_for_what_comes_later() -> None:
    async def scenario() -> None:
        lifecycle = Lifecycle()
        with lifecycle.request():
            with lifecycle.request():
                answered = asyncio.create_task(lifecycle.answered())
                await asyncio.sleep(0)
                later = lifecycle.request()
                later.__enter__()
            await asyncio.sleep(0)
            assert not answered.done()
            assert lifecycle.in_flight == 2
        await answered
        assert lifecycle.in_flight == 1
        later.__exit__(None, None, None)

    asyncio.run(scenario())


def test_waiting_for_nothing_ends_at_once() -> None:
    asyncio.run(Lifecycle().answered())


def test_who_gives_up_waiting_takes_nothing_from_a_request() -> None:
    async def scenario() -> None:
        lifecycle = Lifecycle()
        with lifecycle.request():
            answered = asyncio.create_task(lifecycle.answered())
            await asyncio.sleep(0)
            answered.cancel()
            await asyncio.sleep(0)
        assert lifecycle.in_flight == 0

    asyncio.run(scenario())


def test_a_key_takes_no_more_slots_than_it_leaves_free() -> None:
    refused: list[str] = []
    lifecycle = Lifecycle(8, refused.append)

    def taken_by(key: str | None, stack: ExitStack) -> int:
        for taken in range(9):
            try:
                stack.enter_context(lifecycle.slot(key))
            except QueueFull:
                return taken
        raise AssertionError("more than there are")

    with ExitStack() as stack:
        assert [taken_by("flood", stack), taken_by("another", stack), taken_by("third", stack)] == [4, 2, 1]
        assert taken_by(None, stack) == 1
    assert refused == ["max_requests"] * 4
    with ExitStack() as stack:
        assert taken_by(None, stack) == 8
