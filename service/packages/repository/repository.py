"""Keeps what is served equal to the models folder: packages are found, loaded, swapped and unloaded while it runs.

    folder ──scan──▶ new packages  ──load──▶ ready: from the next request on
                     gone packages ──unload──▶ their requests are answered ──▶ freed

Every version in the folder is served; the newest that is ready is its model's default. A damaged package is refused
with its reason and affects no other. *Configured* models (the default, and those that the operator named) have two more
rules: the start fails without one good version, and a scan never removes the last one.

Changes are made one at a time, in the order requested; requests wait for none. All state changes on the event loop,
without locks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from service.engine.interface import Engine
from service.engine.model_spec import PackageKey
from service.errors import FileDamaged, ManifestRefused, NotFound, PackageError
from service.metrics import Telemetry
from service.packages.registry import MAX_QUOTED, Listener, PackageRegistry, PackageStatus, Repository, ServedPackage
from service.packages.repository.loader import Loader
from service.packages.repository.scan import (
    LoadPolicy,
    Stamp,
    changed_packages,
    find_packages,
    gone_packages,
    new_packages,
    state_of,
)
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits
from service.settings import Settings

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
        except Exception:
            log.exception("could not free a package", package=str(key))
        self._freed(key)


class LocalRepository(Repository):
    """The repository of the process that has the engine.

    Args:
        models_dir: folder of packages.
        engine: loads and computes.
        settings: which models to load, and the limits of vetting.
        telemetry: shows readiness.
        answered: waits until all requests that are in progress now have been answered.
    """

    def __init__(
        self,
        models_dir: Path,
        engine: Engine,
        settings: Settings,
        telemetry: Telemetry,
        answered: Callable[[], Awaitable[None]],
    ) -> None:
        self._policy = LoadPolicy(settings)
        super().__init__(PackageRegistry(settings.default_model), self._policy.configured)
        self._models_dir = models_dir
        self._telemetry = telemetry
        limits = VettingLimits(settings.vetting_timeout_s, settings.vetting_memory_bytes)
        cache = VettingCache(settings.cache_dir, limits)
        self._loader = Loader(models_dir, engine, limits, cache, telemetry)
        self._found: Mapping[PackageKey, Stamp] = {}
        self._unreadable: Mapping[str, str] = {}
        self._tried: dict[PackageKey, Stamp | None] = {}
        self._shown: dict[PackageKey, tuple[str, ...]] = {}  # the labels of its `package_info`
        self._unloading = GracefulUnload(engine, answered, self._freed)
        self._change = asyncio.Lock()

    def add_listener(self, listener: Listener) -> None:
        """As `PackageRegistry.add_listener`."""
        self._registry.add_listener(listener)

    def remove_listener(self, listener: Listener) -> None:
        """As `PackageRegistry.remove_listener`."""
        self._registry.remove_listener(listener)

    async def load_all(self) -> None:
        """Load what the folder holds, configured models first, and of each model the newest version first.

        Raises:
            PackageError: a configured model has no version that can be loaded; the message names the package, the file
                and the damage of its newest version; or the folder cannot be read.
        """
        async with self._change:
            await self._scan()
            new = self._new()
            for key in new:
                self._note(PackageStatus(key, "loading"))
            self._registry.open()
            for name in self.configured:
                await self._load_configured(name, [key for key in new if key.name == name])
            await self._load_each([key for key in new if key.name not in self.configured])

    async def watch(self, interval_s: float) -> None:
        """Rescan for ever, with `interval_s` seconds between the end of a rescan and the next."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.rescan()
            except PackageError as error:
                log.warning("rescan failed; what is served stays", reason=str(error))
            except Exception:
                log.exception("rescan failed; what is served stays")

    async def rescan(self) -> None:
        """Load what is new in the folder, then unload what is gone from it.

        A refused package is tried again when its folder has changed; one that is ready is not, since a version never
        changes.

        Raises:
            PackageError: the folder cannot be read; nothing has changed.
        """
        async with self._change:
            await self._scan()
            await self._load_each(self._new())
            self._unload_gone()

    async def load(self, name: str) -> None:
        """As `Repository.load`."""
        async with self._change:
            await self._scan()
            keys = [key for key in self._found if key.name == name]
            if name in self._unreadable:
                raise FileDamaged(f"{name}: its folder cannot be read ({self._unreadable[name]})")
            if not keys:
                raise NotFound(f"There is no package {name[:MAX_QUOTED]} in the folder of models.")
            self._policy.include(name)
            refused = await self._load_each([key for key in keys if state_of(key, self._registry) != "ready"])
            if (error := refused.get(keys[0])) is not None:
                raise type(error)(f"{keys[0]}: {error}") from error

    async def unload(self, name: str) -> None:
        """As `Repository.unload`."""
        async with self._change:
            known = self._registry.statuses(name)
            if not known:
                raise NotFound(f"There is no model {name[:MAX_QUOTED]}; GET /models lists what there is.")
            self._policy.exclude(name)
            for status in known:
                if status.package is not None:
                    self._unload(status.package)
                elif status.state == "refused":
                    self._note(PackageStatus(status.key, "unloaded"))

    async def close(self) -> None:
        """Stop unloading; the engine's own drain frees what is left."""
        await self._unloading.close()

    async def _scan(self) -> None:
        try:
            found = await asyncio.to_thread(find_packages, self._models_dir)
        except OSError as error:  # a mount may be gone for a while
            raise FileDamaged(f"the folder {self._models_dir} cannot be read ({error.strerror})") from error
        self._found = found.packages
        for name in found.unreadable.keys() - self._unreadable.keys():
            log.error("package refused", package=name, reason=f"its folder cannot be read ({found.unreadable[name]})")
        self._unreadable = found.unreadable
        for key in self._found:
            if key.name not in self._policy and self._registry.get(key) is None:
                self._note(PackageStatus(key, "unloaded"))

    def _new(self) -> list[PackageKey]:
        return new_packages(self._found, self._tried, self._registry, self._policy)

    async def _load_configured(self, name: str, keys: list[PackageKey]) -> None:
        if name in self._unreadable:
            raise FileDamaged(f"{name}: its folder cannot be read ({self._unreadable[name]})")
        if not keys:
            raise ManifestRefused(f"{name}: there is no package of this name in the folder {self._models_dir}")
        refused = await self._load_each(keys)
        if len(refused) == len(keys):
            error = refused[keys[0]]
            raise type(error)(f"{keys[0]}: {error}") from error

    async def _load_each(self, keys: list[PackageKey]) -> dict[PackageKey, PackageError]:
        """Load packages one after the other; returns the errors of those that were refused."""
        refused: dict[PackageKey, PackageError] = {}
        loading = [PackageStatus(key, "loading") for key in keys]
        for status in loading:
            self._note(status)
        try:
            for key in keys:
                error = await self._load(key)
                if error is not None:
                    refused[key] = error
        finally:
            for status in loading:
                if self._registry.get(status.key) is status:  # cancelled before its turn, or during it
                    self._note(PackageStatus(status.key, "unloaded"))
        return refused

    async def _load(self, key: PackageKey) -> PackageError | None:
        """Load one package; returns why it was refused, or None."""
        kept = self._unloading.cancel(key)
        if kept is not None:  # it was being unloaded, and the engine still has it
            self._note(PackageStatus(key, "ready", package=kept))
            return None
        self._tried[key] = self._found[key]
        try:
            package = await self._loader.load(key)
        except PackageError as error:
            self._note(PackageStatus(key, "refused", reason=str(error)))
            return error
        self._note(PackageStatus(key, "ready", package=package))
        return None

    def _unload_gone(self) -> None:
        for status in gone_packages(self._found, self._registry, self.configured):
            if status.package is not None:
                self._unload(status.package)
            elif status.state != "unloading":
                self._forget(status.key)
        for key in changed_packages(self._found, self._tried, self._registry):
            self._tried[key] = self._found.get(key)
            log.warning("a served package's folder changed or went; it is served as it was", package=str(key))

    def _unload(self, package: ServedPackage) -> None:
        self._note(PackageStatus(package.key, "unloading"))
        self._unloading.begin(package)

    def _freed(self, key: PackageKey) -> None:
        self._telemetry.package_unloads.inc()
        log.info("package unloaded", package=str(key))
        if state_of(key, self._registry) != "unloading":  # it is being loaded anew
            return
        if key in self._found:
            self._note(PackageStatus(key, "unloaded"))
        else:
            self._forget(key)

    def _note(self, status: PackageStatus) -> None:
        self._registry.note(status)
        labels = status.key.name, str(status.key.version)
        self._telemetry.package_ready.labels(*labels).set(status.state == "ready")
        self._telemetry.package_refused.labels(*labels).set(status.state == "refused")
        if (shown := self._shown.pop(status.key, None)) is not None:
            self._telemetry.package_info.remove(*shown)
        if (package := status.package) is not None:
            generator = package.report.generator
            self._shown[status.key] = shown = (*labels, package.sha256, generator.provider, generator.precision)
            self._telemetry.package_info.labels(*shown).set(1)

    def _forget(self, key: PackageKey) -> None:
        labels = key.name, str(key.version)
        self._registry.forget(key)
        self._tried.pop(key, None)
        for series in (
            self._telemetry.package_ready,
            self._telemetry.package_refused,
            self._telemetry.package_load_seconds,
        ):
            series.remove(*labels)
