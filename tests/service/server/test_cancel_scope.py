"""A task that ends itself, told apart from one that others end."""

import asyncio

import pytest

from service.server.middleware import CancelScope


def test_a_task_that_was_cancelled_by_its_scope_learns_why_and_goes_on() -> None:
    async def scenario() -> list[str | None]:
        scope: CancelScope[str] = CancelScope()
        asyncio.get_running_loop().call_soon(scope.cancel, "late")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            reason = scope.taken()
        await asyncio.sleep(0)  # nothing of the cancellation is left
        return [reason]

    assert asyncio.run(scenario()) == ["late"]


def test_the_first_reason_stays() -> None:
    async def scenario() -> str | None:
        scope: CancelScope[str] = CancelScope()
        for reason in ("first", "second"):
            asyncio.get_running_loop().call_soon(scope.cancel, reason)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return scope.taken()
        return None

    assert asyncio.run(scenario()) == "first"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_cancellation_from_elsewhere_is_not_taken(interrupted: bool) -> None:
    async def scenario() -> None:
        scopes: list[CancelScope[str]] = []
        reasons: list[str | None] = []

        async def waiting() -> None:
            scopes.append(CancelScope())
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                reasons.append(scopes[0].taken())
                raise

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        if interrupted:
            scopes[0].cancel("late")
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert reasons == [None]

    asyncio.run(scenario())
