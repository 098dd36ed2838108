"""The process that computes: one engine, one repository, and a channel to each API process.

    engine, repository ◀── calls ── API processes
            └── changes of packages; requests for metrics ──▶

It listens on a Unix socket only. It ends when its parent ends or tells it to, but after every API process, since a
request in progress may need it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping

import onnxruntime
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from service import __version__, logs, tracing
from service.access.quotas import LocalQuotas
from service.app import computing
from service.errors import NotReady
from service.metrics import ProcessMetrics, Telemetry
from service.multiprocess.engine_client import engine_handlers, quota_handlers
from service.multiprocess.heartbeat import Heartbeat
from service.multiprocess.metrics import SummedMetrics, registry_of, snapshot
from service.multiprocess.repository_client import Listeners
from service.multiprocess.rpc import Channel, Handler
from service.multiprocess.supervisor import hangup
from service.settings import Settings

CANNOT_START = 1
# Writing a snapshot takes milliseconds; a process that takes longer is shown with its last one.
SNAPSHOT_PATIENCE_S = 0.5

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ApiProcesses:
    """The connected API processes, and what they and their predecessors counted.

    Args:
        registry: of the engine process.
        metrics: of its processes.
    """

    def __init__(self, registry: CollectorRegistry, metrics: ProcessMetrics) -> None:
        self._registry = registry
        self._metrics = metrics
        self._counted: dict[Channel, str | None] = {}
        self._ended: str | None = None
        self._none = asyncio.Event()
        self._none.set()

    def join(self, channel: Channel) -> None:
        """Add a process, until its channel is lost."""
        self._counted[channel] = None
        self._none.clear()
        channel.lost.add_done_callback(lambda _: self._leave(channel))

    async def gone(self) -> None:
        """Wait until no API process is connected."""
        await self._none.wait()

    async def metrics(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Collect snapshots of the running processes, this one first, and of those that have ended."""
        answered = await asyncio.gather(*(self._ask(channel) for channel in self._counted))
        self._metrics.silent.set(answered.count(False))
        own = await asyncio.to_thread(snapshot, self._registry)
        counted = [each for each in self._counted.values() if each is not None]
        return (own, *counted), () if self._ended is None else (self._ended,)

    async def _ask(self, channel: Channel) -> bool:
        """Have a process count; returns whether it did in time."""
        try:
            counted = await channel.call("metrics.own", patience_s=SNAPSHOT_PATIENCE_S)
        except NotReady:
            return channel not in self._counted  # it has ended
        if channel in self._counted:
            self._counted[channel] = counted
        return True

    def _leave(self, channel: Channel) -> None:
        self._metrics.lost.inc()
        last = self._counted.pop(channel)
        if last is not None:
            before = [] if self._ended is None else [self._ended]
            self._ended = snapshot(registry_of(SummedMetrics([], [*before, last])))
        if not self._counted:
            self._none.set()


def main() -> int:
    """Compute for the processes that connect, until it is time to end.

    Returns:
        The exit code.
    """
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    return uvloop.run(_run(settings, socket.socket(fileno=int(sys.argv[1]))))


async def _run(settings: Settings, listener: socket.socket) -> int:
    telemetry = Telemetry(CollectorRegistry())
    traces = tracing.from_environment(os.environ)
    logs.count_dropped(telemetry.log_lines_dropped.inc)
    telemetry.build.labels(__version__, onnxruntime.__version__).set(1)
    api_processes, listeners = ApiProcesses(telemetry.registry, telemetry.processes), Listeners()
    told, failed = _told_to_end(), asyncio.Event()
    heartbeat = Heartbeat(asyncio.get_running_loop(), sys.stdin.fileno())
    async with computing(settings, telemetry, listeners.answered, failed.set) as (engine, repository):
        handlers: Mapping[str, Handler] = {
            **engine_handlers(engine, traces),
            **quota_handlers(LocalQuotas()),
            **listeners.handlers(repository),
            "metrics.all": api_processes.metrics,
        }

        def join(channel: Channel) -> None:
            api_processes.join(channel)
            listeners.join(channel, repository)

        server = await asyncio.get_running_loop().create_unix_server(lambda: Channel(handlers, join), sock=listener)
        ends = {asyncio.create_task(each.wait()) for each in (told, failed)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        if told.is_set():
            await api_processes.gone()
        for end in ends:
            end.cancel()
    if traces is not None:
        await traces.aclose()
    heartbeat.stop()
    return CANNOT_START if failed.is_set() else 0


def _told_to_end() -> asyncio.Event:
    """An event that a signal sets, or a parent that closes its side; a second signal ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        if told.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT, *hangup()):
        loop.add_signal_handler(number, signalled, number)

    def parent_ended() -> None:
        loop.remove_reader(sys.stdin)
        told.set()

    loop.add_reader(sys.stdin, parent_ended)
    return told


if __name__ == "__main__":
    sys.exit(main())
