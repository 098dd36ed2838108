"""The process that computes: one engine, one repository, and a channel to each process that answers requests.

    engine, repository ◀── what they ask for ── processes that answer
            └── what is served; how much is counted ──▶

It ends when its parent does or says so, and last of all: whoever still answers a request may need it. `members` are the
processes that answer. It listens on no network.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping

import onnxruntime
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from service import __version__, logs
from service.app import computing
from service.errors import NotReady
from service.metrics import Telemetry
from service.multiprocess.engine_client import engine_handlers
from service.multiprocess.metrics import Sum, registry_of, snapshot
from service.multiprocess.pulse import Beats
from service.multiprocess.repository_client import Listeners
from service.multiprocess.rpc import Channel, Handler
from service.multiprocess.supervisor import hangup
from service.settings import Settings

CANNOT_START = 1
# Writing a snapshot takes milliseconds; a process that takes longer is shown as it was.
SNAPSHOT_PATIENCE_S = 0.5

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Members:
    """The processes that answer, and what they counted.

    Args:
        registry: of this process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._counted: dict[Channel, str | None] = {}
        self._ended: str | None = None
        self._none = asyncio.Event()
        self._none.set()

    def join(self, channel: Channel) -> None:
        """Count a process among them until it goes."""
        self._counted[channel] = None
        self._none.clear()
        channel.lost.add_done_callback(lambda _: self._leave(channel))

    async def gone(self) -> None:
        """Wait until there is none."""
        await self._none.wait()

    async def metrics(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Answer snapshots of all processes: of those there are, this one first, and of those there were."""
        await asyncio.gather(*(self._ask(channel) for channel in self._counted))
        own = await asyncio.to_thread(snapshot, self._registry)
        counted = [each for each in self._counted.values() if each is not None]
        return (own, *counted), () if self._ended is None else (self._ended,)

    async def _ask(self, channel: Channel) -> None:
        try:
            counted = await channel.call("metrics.own", patience_s=SNAPSHOT_PATIENCE_S)
        except NotReady:
            return
        if channel in self._counted:
            self._counted[channel] = counted

    def _leave(self, channel: Channel) -> None:
        last = self._counted.pop(channel)
        if last is not None:
            before = [] if self._ended is None else [self._ended]
            self._ended = snapshot(registry_of(Sum([], [*before, last])))
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
    logs.count_dropped(telemetry.log_lines_dropped.inc)
    telemetry.build.labels(__version__, onnxruntime.__version__).set(1)
    members, listeners = Members(telemetry.registry), Listeners()
    told, failed = _told_to_end(), asyncio.Event()
    beats = Beats(asyncio.get_running_loop(), sys.stdin.fileno())
    async with computing(settings, telemetry, listeners.answered, failed.set) as (engine, repository):
        handlers: Mapping[str, Handler] = {
            **engine_handlers(engine),
            **listeners.handlers(repository),
            "metrics.all": members.metrics,
        }

        def join(channel: Channel) -> None:
            members.join(channel)
            listeners.join(channel, repository)

        server = await asyncio.get_running_loop().create_unix_server(lambda: Channel(handlers, join), sock=listener)
        ends = {asyncio.create_task(each.wait()) for each in (told, failed)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        if told.is_set():
            await members.gone()
        for end in ends:
            end.cancel()
    beats.stop()
    return CANNOT_START if failed.is_set() else 0


def _told_to_end() -> asyncio.Event:
    """An event that the parent's word sets, its end, or a signal; a second signal ends the process at once."""
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
