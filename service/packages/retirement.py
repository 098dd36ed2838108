"""How a package leaves: unseen at once, freed when everybody who may still hold it is done.

    begin ──▶ requests that found it before are answered ──▶ engine.unload ──▶ freed
                        └── take_back: as if nothing had happened

A request may hold a package from the moment it found it to its last byte, and computes in between; no job of the engine
spans that. So the wait is for requests and not for jobs. It knows nothing of folders or of why a package leaves.

References:
    McKenney and Slingwine, Read-copy update: using execution history to solve concurrency problems (1998).
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service.engine.graphs import PackageKey
from service.engine.port import Engine
from service.packages.catalogue import ServedPackage

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Retirement:
    """Frees packages that no new request finds.

    Args:
        engine: which has them.
        answered: waits until every request that is being answered now has been.
        freed: told of each package that the engine has let go of.
    """

    def __init__(
        self, engine: Engine, answered: Callable[[], Awaitable[None]], freed: Callable[[PackageKey], None]
    ) -> None:
        self._engine = engine
        self._answered = answered
        self._freed = freed
        self._waiting: dict[PackageKey, tuple[ServedPackage, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, package: ServedPackage) -> None:
        """Free a package as soon as nobody can have it any more; it must be findable no longer."""
        task = asyncio.create_task(self._free(package.key))
        self._waiting[package.key] = package, task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def take_back(self, key: PackageKey) -> ServedPackage | None:
        """Answer a package that is still waited for, and keep it; None where it is too late, or it never left."""
        if key not in self._waiting:
            return None
        package, task = self._waiting.pop(key)
        task.cancel()
        return package

    async def close(self) -> None:
        """Wait no longer; the engine's own drain frees what is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _free(self, key: PackageKey) -> None:
        await self._answered()
        del self._waiting[key]
        try:
            await self._engine.unload(key)
        except Exception:
            log.exception("could not free a package", package=str(key))
        self._freed(key)
