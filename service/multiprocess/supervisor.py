"""The parent of a service's processes: it listens, starts them, and decides what the end of one means.

    python -m service ─┬─ engine_process.py          computes: one engine, its packages, its queue
                       ├─ api_process.py, the 1st  ─┐
                       └─ api_process.py, the Nth  ─┴─ answer HTTP; each calls the engine over a Unix socket

Each API process has its own listening socket for the one port, and the kernel spreads connections between them; the
parent keeps all sockets open, so that connections survive a process that had not accepted them yet. A process that was
killed is replaced, and one that falls silent is killed. One that exits with an error would do so again, and without an
engine nothing can be served: then the service ends, as a single process would. Children have a limit of time to end.

The standard input of each child is a socket to the parent (`heartbeat.py`); when it closes the child ends, also where
the parent was killed. The parent imports nothing of what the children run.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog

from service.multiprocess.heartbeat import RestartBackoff
from service.settings import Settings

# As in a single process (uvicorn's default).
BACKLOG: Final = 2048
FAILED: Final = 1
# No handler blocks an API process's event loop for a second; five mean a stopped process, or a host that is overloaded.
API_PATIENCE_S: Final = 5.0
# Making a session for a device may hold the interpreter for long, and a killed engine ends the whole service.
ENGINE_PATIENCE_S: Final = 30.0
# Imports and the first connection, on a cold disk.
START_PATIENCE_S: Final = 120.0
LOOK_S: Final = 0.5
# Added to the time to drain: for closing connections, and for the engine, which ends last.
CLOSING_S: Final = 8.0

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs.

    Attributes:
        module: run with `python -m`.
        number: of the child among those that run the same module, from 1.
        arguments: on its command line.
        inherits: file descriptors that it keeps.
        patience_s: seconds without a heartbeat after which it is taken for hung.
    """

    module: str
    number: int
    arguments: tuple[str, ...]
    inherits: tuple[int, ...]
    patience_s: float


class _Child:
    """A process that was started.

    Args:
        program: what it runs.
        process: its handle.
        to_it: the parent's end of its standard input.
    """

    def __init__(self, program: Program, process: asyncio.subprocess.Process, to_it: socket.socket) -> None:
        self.program = program
        self.process = process
        self.ended = asyncio.create_task(process.wait())
        self.began = self._heard = time.monotonic()
        self._patience_s = START_PATIENCE_S
        self._socket: socket.socket | None = to_it
        to_it.setblocking(False)
        asyncio.get_running_loop().add_reader(to_it, self._hear, to_it)

    @property
    def is_silent(self) -> bool:
        """Whether its heartbeats have been missing for too long."""
        return not self.ended.done() and time.monotonic() - self._heard > self._patience_s

    @property
    def fields(self) -> dict[str, object]:
        """The fields that identify it in log lines."""
        return {"program": self.program.module, "number": self.program.number, "pid": self.process.pid}

    def tell_to_end(self) -> None:
        """Close the parent's end of its standard input; may be called again."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def kill(self) -> None:
        """End it at once, also where it is stopped."""
        with suppress(ProcessLookupError):  # it has just ended
            self.process.kill()

    def _hear(self, to_it: socket.socket) -> None:
        try:
            heard = to_it.recv(BACKLOG)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if heard:
            self._heard = time.monotonic()
            self._patience_s = self.program.patience_s
        else:  # it has closed its end, and will send no more
            asyncio.get_running_loop().remove_reader(to_it)


class Supervisor:
    """Keeps a service's processes running until it is told to end, or has to.

    Args:
        engine: the program of the engine process.
        engine_listener: its listening socket; closed here once it is inherited, so that no client waits for an engine
            that has ended.
        answering: the programs of the API processes.
        listeners: their listening sockets; closed when the service ends, for the same reason.
        end_s: seconds that children have to end before they are killed.
    """

    def __init__(
        self,
        engine: Program,
        engine_listener: socket.socket,
        answering: Sequence[Program],
        listeners: Sequence[socket.socket],
        end_s: float,
    ) -> None:
        self._engine = engine
        self._engine_listener = engine_listener
        self._answering = answering
        self._listeners = listeners
        self._end_s = end_s
        self._children: set[_Child] = set()
        self._restarts = {program: RestartBackoff() for program in answering}
        self._starting: set[asyncio.Task[None]] = set()
        self._told_to_end = asyncio.Event()

    async def run(self) -> int:
        """Run the service; returns its exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, *hangup()):
            loop.add_signal_handler(number, self._end)
        await self._start(self._engine)
        self._engine_listener.close()
        for program in self._answering:
            await self._start(program)
        code = await self._watch()
        for start in self._starting:
            start.cancel()
        for listener in self._listeners:
            listener.close()
        await self._end_children()
        logger.info("ended", exit_code=code)
        return code

    def _end(self) -> None:
        """End after the requests in progress; the second time, at once."""
        if self._told_to_end.is_set():
            for child in self._children:
                child.kill()
        self._told_to_end.set()

    async def _watch(self) -> int:
        """Replace killed children until the service is told to end or cannot continue; returns the exit code."""
        told = asyncio.create_task(self._told_to_end.wait())
        while True:
            waited_for = {told, *(child.ended for child in self._children)}
            await asyncio.wait(waited_for, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return 0
            self._kill_the_silent()
            for child in [child for child in self._children if child.ended.done()]:
                self._forget(child)
                code = child.ended.result()
                if code > 0 or child.program is self._engine:
                    logger.error("a process ended, and the service with it", **child.fields, exit_code=code)
                    told.cancel()
                    return FAILED
                delay_s = self._restarts[child.program].delay_s(time.monotonic() - child.began)
                logger.warning("a process ended and is replaced", **child.fields, exit_code=code, after_s=delay_s)
                start = asyncio.create_task(self._replace(child.program, delay_s))
                self._starting.add(start)
                start.add_done_callback(self._starting.discard)

    def _kill_the_silent(self) -> None:
        for child in self._children:
            if child.is_silent:
                logger.error("a process does not answer and is killed", **child.fields)
                child.kill()

    async def _end_children(self) -> None:
        """Tell all children to end, and kill those that have not by the limit."""
        for child in self._children:
            child.tell_to_end()
        limit = time.monotonic() + self._end_s
        while self._children and (left_s := limit - time.monotonic()) > 0:
            waited_for = [child.ended for child in self._children]
            await asyncio.wait(waited_for, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for child in [child for child in self._children if child.ended.done()]:
                self._forget(child)
        for child in self._children:
            logger.error("a process does not end and is killed", **child.fields)
            child.kill()
        if self._children:
            await asyncio.wait([child.ended for child in self._children])

    def _forget(self, child: _Child) -> None:
        child.tell_to_end()
        self._children.discard(child)

    async def _replace(self, program: Program, delay_s: float) -> None:
        """Start a program again, and retry while the host cannot start processes."""
        while True:
            await asyncio.sleep(delay_s)
            try:
                await self._start(program)
            except OSError as error:
                delay_s = self._restarts[program].delay_s(0.0)
                fields = {"program": program.module, "number": program.number, "after_s": delay_s}
                logger.error("a process cannot be started and is tried again", **fields, reason=error.strerror)  # noqa: TRY400
            else:
                return

    async def _start(self, program: Program) -> None:
        ours, its = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", program.module, *program.arguments,
                stdin=its.fileno(), pass_fds=program.inherits,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            its.close()
        child = _Child(program, process, ours)
        logger.info("process started", **child.fields)
        self._children.add(child)


def supervise(settings: Settings) -> int:
    """Run a service of several processes.

    Args:
        settings: children read the same from the environment.

    Returns:
        The exit code.
    """
    with ExitStack() as held:
        try:
            listeners = [listen(settings.host, settings.port, settings.api_workers)]
            if settings.metrics_port:
                listeners.append(listen(settings.host, settings.metrics_port, settings.api_workers))
            folder = held.enter_context(TemporaryDirectory(prefix="ganymede-"))  # readable by its owner only
            path = str(Path(folder) / "engine")
            engine_listener = socket.socket(socket.AF_UNIX)
            engine_listener.bind(path)
            engine_listener.listen(BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            logger.error("cannot start", host=settings.host, port=settings.port, reason=reason)  # noqa: TRY400
            return FAILED
        engine = _program("engine", 1, ENGINE_PATIENCE_S, (engine_listener,))
        answering = [
            _program("api", number, API_PATIENCE_S, each, path)
            for number, each in enumerate(zip(*listeners, strict=True), 1)
        ]
        end_s = settings.drain_timeout_s + CLOSING_S
        return asyncio.run(
            Supervisor(engine, engine_listener, answering, [each for port in listeners for each in port], end_s).run()
        )


def _program(name: str, number: int, patience_s: float, listeners: Sequence[socket.socket], *arguments: str) -> Program:
    files = tuple(listener.fileno() for listener in listeners)
    return Program(f"service.multiprocess.{name}_process", number, (*arguments, *map(str, files)), files, patience_s)


def hangup() -> tuple[signal.Signals, ...]:
    """The signal of a closed terminal, which ends the service as SIGTERM does; none where it is ignored (nohup)."""
    return () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Listen on one address with several sockets.

    Args:
        host: an address of this host.
        port: 0 takes a free one.
        count: how many sockets.

    Returns:
        The sockets, all of one port.

    Raises:
        OSError: the address is in use or not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # First a socket without SO_REUSEPORT: two services would otherwise share the port, and half the connections each.
    with socket.socket(family) as alone:
        _answer_ipv4_too(alone, host)
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
    listeners = []
    for _ in range(count):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _answer_ipv4_too(listener, host)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


def _answer_ipv4_too(listener: socket.socket, host: str) -> None:
    """Have the address of every interface mean both protocols, whatever the host's default is."""
    if host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
