"""Frees packages gracefully: no new request finds them, and those that have them are answered first."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service.engine.interface import Engine
from service.engine.model_spec import PackageKey
from service.memory import free_unused
from service.packages.registry import ServedPackage

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class GracefulUnload:
    """Frees packages that no new request finds, once the requests that have them are answered.

    Args:
        engine: which has loaded them.
        answered: waits until all requests that are in progress now have been answered.
        freed: is told of each package that the engine has freed.
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
        """Free a package when no request has it any more; it must no longer be found by new ones."""
        task = asyncio.create_task(self._free(package.key))
        self._waiting[package.key] = package, task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self, key: PackageKey) -> ServedPackage | None:
        """Keep a package that is not freed yet, and return it; None where it is too late, or it was not begun."""
        if key not in self._waiting:
            return None
        package, task = self._waiting.pop(key)
        task.cancel()
        return package

    async def close(self) -> None:
        """Stop waiting; the engine's own drain frees what is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _free(self, key: PackageKey) -> None:
        await self._answered()
        del self._waiting[key]
        try:
            await self._engine.unload(key)
            await asyncio.to_thread(free_unused)
        except Exception:
            log.exception("could not free a package", package=str(key))
        self._freed(key)
