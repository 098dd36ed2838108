"""One registry of packages in several processes: the repository of the engine process, and the copies of API processes.

    engine process                                        API process
    LocalRepository ─▶ PackageRegistry ─▶ RemoteListener ──changes──▶ RepositoryClient ◀── endpoints
           ▲                                    └── noted; requests answered ◀──┤
           └────────────────── load, unload ◀───────────────────────────────────┘

Copies are told of changes in order, and a change that a caller asked for is done when every copy has it: then no
process answers with what another was told is gone. A package is freed only when every process has answered the requests
that may hold it.

References:
    McKenney and Slingwine, Read-copy update: using execution history to solve concurrency problems (1998).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from service.engine.model_spec import LoadReport, PackageKey
from service.errors import NotReady
from service.multiprocess.rpc import Channel, Handler
from service.packages.manifest import parse_manifest
from service.packages.registry import PackageRegistry, PackageStatus, Repository, ServedPackage, State
from service.packages.repository.repository import LocalRepository
from service.packages.repository.scan import LoadPolicy
from service.settings import Settings

# A status as it crosses: its fields in their order, and of a ready package its manifest, hash, report and reference.
_Package = tuple[bytes, str, LoadReport, bytes | None]
_Status = tuple[PackageKey, State, str | None, _Package | None, bool, int | None, float | None]


class RepositoryClient(Repository):
    """A copy of the engine process's repository, which that process keeps current.

    Args:
        settings: the same as the engine process has.
        answered: waits until every request that is in progress in this process now has been answered.
    """

    def __init__(self, settings: Settings, answered: Callable[[], Awaitable[None]]) -> None:
        registry = PackageRegistry(settings.default_model, settings.model_alias)
        super().__init__(registry, LoadPolicy(settings).configured)
        self._answered = answered
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel: Channel | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What the engine process calls."""
        return {
            "registry.open": self._open,
            "registry.note": self._note,
            "registry.forget": self._forget,
            "registry.complete": self._is_complete,
            "requests.answered": self._answered,
        }

    async def connect(self, channel: Channel) -> None:
        """Take a channel to the engine process, and return when this copy is complete.

        Raises:
            NotReady: the engine process has ended.
        """
        self._channel = channel
        await asyncio.wait((self._complete, channel.lost), return_when=asyncio.FIRST_COMPLETED)
        if not self._complete.done():
            raise NotReady("the repository's process has gone")

    async def load(self, name: str) -> None:
        """As `Repository.load`."""
        await self._ask("repository.load", name)

    async def unload(self, name: str) -> None:
        """As `Repository.unload`."""
        await self._ask("repository.unload", name)

    async def demand(self, key: PackageKey) -> None:
        """As `Repository.demand`."""
        await self._ask("repository.demand", key)

    async def _ask(self, what: str, which: str | PackageKey) -> None:
        if self._channel is None:
            raise NotReady("the repository's process is not there yet")
        await self._channel.call(what, which)

    async def _open(self) -> None:
        self._registry.open()

    async def _note(self, status: _Status) -> None:
        self._registry.note(_read(status))

    async def _forget(self, key: PackageKey) -> None:
        self._registry.forget(key)

    async def _is_complete(self) -> None:
        self._complete.set_result(None)


class RemoteListener:
    """Tells the copy in one API process of every change; a `Listener` of the registry.

    Args:
        channel: to that process.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._telling: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """As `PackageRegistry.open`."""
        self._tell("registry.open")

    def note(self, status: PackageStatus) -> None:
        """As `PackageRegistry.note`."""
        self._tell("registry.note", _write(status))

    def forget(self, key: PackageKey) -> None:
        """As `PackageRegistry.forget`."""
        self._tell("registry.forget", key)

    def complete(self) -> None:
        """Say that the copy is complete."""
        self._tell("registry.complete")

    async def seen(self) -> None:
        """Wait until the copy has noted every change so far."""
        if self._telling:
            await asyncio.wait(set(self._telling))

    async def answered(self) -> None:
        """Wait until the process has answered every request that began before it noted the last change."""
        await self.seen()
        await self._call("requests.answered")

    def _tell(self, what: str, *arguments: object) -> None:
        """Begin a call; tasks begin in order, and so do the handlers of their calls."""
        task = asyncio.create_task(self._call(what, *arguments))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _call(self, what: str, *arguments: object) -> None:
        with suppress(NotReady):  # the process has ended, and its requests with it
            await self._channel.call(what, *arguments)


class Listeners:
    """The listeners of all connected API processes."""

    def __init__(self) -> None:
        self._listeners: dict[Channel, RemoteListener] = {}

    def join(self, channel: Channel, repository: LocalRepository) -> None:
        """Keep the copy behind a channel current, until the channel is lost."""
        listener = self._listeners[channel] = RemoteListener(channel)
        repository.add_listener(listener)
        listener.complete()

        def leave(_: object) -> None:
            del self._listeners[channel]
            repository.remove_listener(listener)

        channel.lost.add_done_callback(leave)

    async def seen(self) -> None:
        """Wait until every copy has noted every change so far."""
        await asyncio.gather(*(listener.seen() for listener in self._listeners.values()))

    async def answered(self) -> None:
        """As `RemoteListener.answered`, of every process."""
        await asyncio.gather(*(listener.answered() for listener in self._listeners.values()))

    def handlers(self, repository: LocalRepository) -> Mapping[str, Handler]:
        """What the engine process answers to `RepositoryClient`s; a change is done when every copy has it."""

        async def load(name: str) -> None:
            try:
                await repository.load(name)
            finally:
                await self.seen()

        async def unload(name: str) -> None:
            await repository.unload(name)
            await self.seen()

        return {"repository.load": load, "repository.unload": unload, "repository.demand": repository.demand}


def _write(status: PackageStatus) -> _Status:
    written: _Package | None = None
    if (package := status.package) is not None:
        content = package.manifest.model_dump_json(exclude_unset=True).encode()
        written = content, package.sha256, package.report, package.reference
    return (
        status.key,
        status.state,
        status.reason,
        written,
        status.on_demand,
        status.memory_bytes,
        status.retry_after_s,
    )


def _read(status: _Status) -> PackageStatus:
    key, state, reason, written, on_demand, memory_bytes, retry_after_s = status
    package = None
    if written is not None:
        content, sha256, report, reference = written
        package = ServedPackage.of(key, parse_manifest(content), sha256, report, reference)
    return PackageStatus(key, state, reason, package, on_demand, memory_bytes, retry_after_s)
