"""The parent of a service's processes: it listens for them, starts them, and decides what the end of one means.

    python -m service ─┬─ processes/engine.py        computes: one engine, its packages, its queue
                       ├─ processes/api.py, the 1st  ─┐
                       └─ processes/api.py, the Nth  ─┴─ answer HTTP; each asks the engine over a socket of its own

Every API process has a listening socket of its own for the one port, between which the kernel spreads connections; the
parent keeps all of them open, so that connections outlive a process that has not yet accepted them. A process that was
killed, or told to end, is replaced. One that ends by itself found a fault that its successor would find too, and
without an engine there is nothing to serve: then the service ends, as a single process would.

The standard input of all children is one pipe that ends when the service shall, or when the parent has ended without a
word; none of them outlives it. It imports nothing of what they do.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog

from service.settings import Settings

# As many connections as the server of one process lets wait (uvicorn's).
BACKLOG: Final = 2048
FAILED: Final = 1

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs.

    Attributes:
        module: its program.
        number: which of those that run the same program, from 1.
        arguments: for it.
        inherits: sockets that it is handed, by the numbers they have here.
    """

    module: str
    number: int
    arguments: tuple[str, ...]
    inherits: tuple[int, ...]


class Supervisor:
    """Keeps a service's processes running until it is told to end, or has to.

    Args:
        engine: what the engine's process runs.
        engine_listener: where it listens; closed here once it has it, so that nobody waits there for one that ended.
        answering: what the others run.
        listeners: where they listen; closed when the service ends, for the same reason.
    """

    def __init__(
        self,
        engine: Program,
        engine_listener: socket.socket,
        answering: Sequence[Program],
        listeners: Sequence[socket.socket],
    ) -> None:
        self._engine = engine
        self._engine_listener = engine_listener
        self._answering = answering
        self._listeners = listeners
        self._children_read, self._lifeline = os.pipe()
        self._children: dict[asyncio.Task[int], tuple[Program, asyncio.subprocess.Process]] = {}
        self._told_to_end = asyncio.Event()

    async def run(self) -> int:
        """Run the service; answer its exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        await self._start(self._engine)
        self._engine_listener.close()
        for program in self._answering:
            await self._start(program)
        code = await self._watch()
        for listener in self._listeners:
            listener.close()
        os.close(self._lifeline)
        if self._children:
            await asyncio.wait(self._children)
        logger.info("ended", exit_code=code)
        return code

    def _end(self) -> None:
        """End once what is being answered has been; told twice, at once."""
        if self._told_to_end.is_set():
            for _, process in self._children.values():
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    process.kill()
        self._told_to_end.set()

    async def _watch(self) -> int:
        """Replace children that were killed, until the service is told to end or cannot go on."""
        told = asyncio.create_task(self._told_to_end.wait())
        while True:
            await asyncio.wait({told, *self._children}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return 0
            for ended in [task for task in self._children if task.done()]:
                program, process = self._children.pop(ended)
                code = ended.result()
                fields = {"program": program.module, "number": program.number, "pid": process.pid, "exit_code": code}
                if code > 0 or program is self._engine:
                    logger.error("a process ended, and the service with it", **fields)
                    told.cancel()
                    return FAILED
                logger.warning("a process ended and is replaced", **fields)
                await self._start(program)

    async def _start(self, program: Program) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", program.module, *program.arguments,
            stdin=self._children_read, pass_fds=program.inherits,
        )  # fmt: skip
        logger.info("process started", program=program.module, number=program.number, pid=process.pid)
        self._children[asyncio.create_task(process.wait())] = program, process


def supervise(settings: Settings) -> int:
    """Run a service of several processes.

    Args:
        settings: what the operator chose; children read the same from the environment.

    Returns:
        The exit code.
    """
    with ExitStack() as held:
        try:
            listeners = listen(settings.host, settings.port, settings.api_workers)
            folder = held.enter_context(TemporaryDirectory(prefix="ganymede-"))  # which only its owner may enter
            path = str(Path(folder) / "engine")
            engine_listener = socket.socket(socket.AF_UNIX)
            engine_listener.bind(path)
            engine_listener.listen(BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            logger.error("cannot start", host=settings.host, port=settings.port, reason=reason)  # noqa: TRY400
            return FAILED
        engine = _program("engine", 1, engine_listener)
        answering = [_program("api", number, each, path) for number, each in enumerate(listeners, 1)]
        return asyncio.run(Supervisor(engine, engine_listener, answering, listeners).run())


def _program(name: str, number: int, listener: socket.socket, *arguments: str) -> Program:
    file = listener.fileno()
    return Program(f"service.processes.{name}", number, (str(file), *arguments), (file,))


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Listen on one address with several sockets.

    Args:
        host: an address of this host.
        port: 0 takes a free one.
        count: how many sockets.

    Returns:
        The sockets, all of one port.

    Raises:
        OSError: somebody else listens there, or nobody may.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # A socket that shares nothing, first: two services would else share the port, and each answer half of what comes.
    with socket.socket(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
    listeners = []
    for _ in range(count):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners
