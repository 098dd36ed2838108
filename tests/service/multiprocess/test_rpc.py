"""Calls between two processes: answered, refused, withdrawn, and told when the other side has gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from service.errors import NotFound, NotReady, QueueFull, ServiceFault
from service.multiprocess.rpc import Channel
from tests.support.wires import wired


class Far:
    """What the other side does."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.order: list[int] = []

    async def echo(self, *arguments: object) -> object:
        return arguments

    async def note(self, number: int) -> None:
        self.order.append(number)

    async def refuse(self) -> None:
        raise QueueFull("full", 2.5)

    async def stumble(self) -> None:
        raise KeyError("secret")

    async def misspeak(self) -> object:
        return object()

    async def wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def over_a_wire(scenario: Callable[[Channel, Channel, Far], Awaitable[None]]) -> None:
    async def run() -> None:
        far = Far()
        handlers = {name: getattr(far, name) for name in ("echo", "note", "refuse", "stumble", "misspeak", "wait")}
        async with wired(handlers) as (near, other), asyncio.timeout(20):
            await scenario(near, other, far)

    asyncio.run(run())


def test_a_call_is_answered_with_what_its_handler_returns() -> None:
    async def scenario(near: Channel, _: Channel, __: Far) -> None:
        array = np.arange(500_000, dtype=np.float64)
        text, back = await near.call("echo", "words", array)
        assert text == "words"
        assert back.tobytes() == array.tobytes()

    over_a_wire(scenario)


def test_calls_are_answered_each_to_its_own_caller() -> None:
    async def scenario(near: Channel, _: Channel, __: Far) -> None:
        answers = await asyncio.gather(*(near.call("echo", number) for number in range(100)))
        assert answers == [(number,) for number in range(100)]

    over_a_wire(scenario)


def test_handlers_begin_in_the_order_of_their_calls() -> None:
    async def scenario(near: Channel, _: Channel, far: Far) -> None:
        await asyncio.gather(*(near.call("note", number) for number in range(50)))
        assert far.order == list(range(50))

    over_a_wire(scenario)


def test_an_error_of_a_handler_is_the_callers() -> None:
    async def scenario(near: Channel, _: Channel, __: Far) -> None:
        with pytest.raises(QueueFull, match=r"^full$") as caught:
            await near.call("refuse")
        assert caught.value.retry_after_s == 2.5

    over_a_wire(scenario)


@pytest.mark.parametrize("name", ["stumble", "misspeak", "unheard-of"])
def test_an_unexpected_error_is_a_fault_to_the_caller_and_a_stack_in_the_log(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(near: Channel, _: Channel, __: Far) -> None:
        with pytest.raises(ServiceFault, match="its log says how"):
            await near.call(name)
        assert (await near.call("echo", 1)) == (1,)

    with caplog.at_level(logging.ERROR):
        over_a_wire(scenario)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_call_that_is_cancelled_here_is_cancelled_there() -> None:
    async def scenario(near: Channel, _: Channel, far: Far) -> None:
        call = asyncio.create_task(near.call("wait"))
        await far.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await far.ended.wait()

    over_a_wire(scenario)


def test_calls_of_a_side_that_has_gone_are_cancelled_and_calls_to_it_are_refused() -> None:
    async def scenario(near: Channel, other: Channel, far: Far) -> None:
        call = asyncio.create_task(near.call("wait"))
        await far.begun.wait()
        near.close()
        with pytest.raises(NotReady, match="ended"):
            await call
        await far.ended.wait()
        for channel in (near, other):
            await channel.lost
            with pytest.raises(NotReady, match="ended"):
                await channel.call("echo")

    over_a_wire(scenario)


def test_a_side_that_does_not_answer_is_given_up_and_told_so() -> None:
    async def scenario(near: Channel, _: Channel, far: Far) -> None:
        with pytest.raises(NotReady, match="does not answer"):
            await near.call("wait", patience_s=0.01)
        await far.ended.wait()

    over_a_wire(scenario)


def test_both_sides_may_call_and_a_refusal_of_one_is_no_refusal_of_the_other() -> None:
    async def refuse() -> None:
        raise NotFound("nothing here")

    async def answer() -> str:
        return "here"

    async def run() -> None:
        async with wired({"ask": refuse}, {"ask": answer}) as (near, far):
            with pytest.raises(NotFound):
                await near.call("ask")
            assert await far.call("ask") == "here"

    asyncio.run(run())
