"""How several processes listen on one port, and what becomes of those that hang or end again and again."""

import asyncio
import os
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from service.multiprocess.heartbeat import HEALTHY_S, RestartBackoff
from service.multiprocess.supervisor import Program, Supervisor, listen

CONNECTIONS = 64


def test_every_listener_of_a_port_gets_its_share_of_connections() -> None:
    with ExitStack() as held:
        listeners = [held.enter_context(each) for each in listen("127.0.0.1", 0, 2)]
        (address,) = {each.getsockname() for each in listeners}
        for _ in range(CONNECTIONS):
            held.enter_context(socket.create_connection(address))
        accepted = []
        for listener in listeners:
            listener.setblocking(False)
            accepted.append(0)
            with suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    accepted[-1] += 1
        assert sum(accepted) == CONNECTIONS
        assert min(accepted) > 0


def test_a_port_that_another_service_listens_on_is_not_shared() -> None:
    with ExitStack() as held:
        first, _ = (held.enter_context(each) for each in listen("127.0.0.1", 0, 2))
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", first.getsockname()[1], 2)


def stubborn(number: int, patience_s: float) -> Program:
    return Program("tests.service.multiprocess.stubborn", number, (), (), patience_s)


def supervisor(engine: Program, *answering: Program) -> Supervisor:
    return Supervisor(engine, socket.socket(), answering, [], end_s=0.5)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_an_engine_that_falls_silent_ends_the_service_and_all_its_processes() -> None:
    assert asyncio.run(supervisor(stubborn(1, patience_s=0.5), stubborn(2, patience_s=600)).run()) == 1
    assert not [each for each in Path("/proc").glob("[0-9]*/cmdline") if b"multiprocess.stubborn" in words(each)]


def test_who_does_not_end_when_told_to_is_killed() -> None:
    async def end() -> int:
        whole = supervisor(stubborn(1, patience_s=600))
        running = asyncio.create_task(whole.run())
        await asyncio.sleep(0.2)  # until it runs; a signal before that would end it as well
        signal.raise_signal(signal.SIGTERM)
        return await running

    assert asyncio.run(end()) == 0


def words(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def test_replacements_wait_ever_longer_until_one_has_lived() -> None:
    restarts = RestartBackoff()
    assert [restarts.delay_s(1.0) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restarts.delay_s(HEALTHY_S) == 0
    assert restarts.delay_s(1.0) == 0.5


def test_a_replacement_that_the_host_has_no_room_for_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [BlockingIOError(11, "Resource temporarily unavailable")] * 2
    really = asyncio.create_subprocess_exec
    started: list[int] = []

    async def exec_when_there_is_room(*arguments: str, **options: int | tuple[int, ...]) -> asyncio.subprocess.Process:
        if len(started) >= 2 and refusals:
            raise refusals.pop()
        process = await really(*arguments, **options)  # type: ignore[arg-type]  # handed on as they came
        started.append(process.pid)
        return process

    async def replaced() -> None:
        whole = supervisor(stubborn(1, patience_s=600), stubborn(2, patience_s=600))
        running = asyncio.create_task(whole.run())
        while len(started) < 2:  # noqa: ASYNC110 - a process's start sets no event
            await asyncio.sleep(0.01)
        os.kill(started[1], signal.SIGKILL)
        while len(started) < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        assert await running == 0

    monkeypatch.setattr(asyncio, "create_subprocess_exec", exec_when_there_is_room)
    asyncio.run(replaced())
    assert refusals == []
