"""A task that ends itself, told apart from one that others end."""

import asyncio

import pytest

from service.server.interruption import Interruption


def test_a_task_that_was_interrupted_learns_why_and_goes_on() -> None:
    async def scenario() -> list[str | None]:
        interruption: Interruption[str] = Interruption()
        asyncio.get_running_loop().call_soon(interruption.interrupt, "late")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            reason = interruption.taken()
        await asyncio.sleep(0)  # nothing of the cancellation is left
        return [reason]

    assert asyncio.run(scenario()) == ["late"]


def test_the_first_reason_stays() -> None:
    async def scenario() -> str | None:
        interruption: Interruption[str] = Interruption()
        for reason in ("first", "second"):
            asyncio.get_running_loop().call_soon(interruption.interrupt, reason)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return interruption.taken()
        return None

    assert asyncio.run(scenario()) == "first"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_cancellation_from_elsewhere_is_not_taken(interrupted: bool) -> None:
    async def scenario() -> None:
        interruptions: list[Interruption[str]] = []
        reasons: list[str | None] = []

        async def waiting() -> None:
            interruptions.append(Interruption())
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                reasons.append(interruptions[0].taken())
                raise

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        if interrupted:
            interruptions[0].interrupt("late")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert reasons == [None]

    asyncio.run(scenario())
