"""Keeps what is served equal to the models folder: packages are found, loaded, swapped and unloaded while it runs.

    folder ──scan──▶ new packages  ──load──▶ ready: from the next request on
                     gone packages ──unload──▶ their requests are answered ──▶ freed

Every version in the folder is served; the newest that is ready is its model's default. A damaged package is refused
with its reason and affects no other. *Configured* models (the default, and those that the operator named) have two more
rules: the start fails without one good version, and a scan never removes the last one.

Changes are made one at a time, in the order requested; requests wait for none. All state changes on the event loop,
without locks.

With a memory budget, packages beyond it are kept out of memory, *on demand*: a request is answered 503 and has its
package loaded, in place of those that are idle and were used least recently. The newest version of a configured model
stays. No change waits for memory to be freed, since what is freed waits for requests, and a request may wait for a
change; only a load on demand does, between two changes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from service.engine.core.engine import LocalEngine
from service.engine.model_spec import PackageKey
from service.errors import FileDamaged, ManifestRefused, NotFound, OverBudget, PackageError
from service.metrics import Telemetry
from service.packages.registry import (
    KEPT_OUT,
    MAX_QUOTED,
    Listener,
    PackageRegistry,
    PackageStatus,
    Repository,
    ServedPackage,
    State,
)
from service.packages.repository.budget import Turn, TurnAllowance
from service.packages.repository.loader import Loader
from service.packages.repository.mirror import Mirror
from service.packages.repository.residency import PackageGauges, Residency
from service.packages.repository.scan import (
    Found,
    LoadPolicy,
    Stamp,
    changed_packages,
    files_bytes,
    gone_packages,
    look,
    new_packages,
    state_of,
)
from service.packages.repository.unloading import GracefulUnload
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits
from service.settings import Settings

# Of packages on demand, for their callers.
TAKE_TURNS = "it waits for its turn, because packages that do not fit together are asked for in turns"
ALL_IN_USE = "the packages in its place are in use"
UNREADABLE = "the folder of packages cannot be read at the moment"
# Between looks whether a package in use has become idle, and for how long; then the next request asks anew.
LOOK_S = 0.25
PATIENCE_S = 10.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class LocalRepository(Repository):
    """The repository of the process that has the engine.

    Args:
        models_dir: folder of packages.
        engine: loads and computes.
        settings: which models to load, and the limits of vetting.
        telemetry: shows readiness.
        answered: waits until all requests that are in progress now have been answered.
        mirror: keeps the folder equal to an object store; None where nothing does.
    """

    def __init__(
        self,
        models_dir: Path,
        engine: LocalEngine,
        settings: Settings,
        telemetry: Telemetry,
        answered: Callable[[], Awaitable[None]],
        mirror: Mirror | None = None,
    ) -> None:
        self._policy = LoadPolicy(settings) if mirror is None else mirror.policy
        super().__init__(PackageRegistry(settings.default_model, settings.model_alias), self._policy.configured)
        self._models_dir = models_dir
        self._mirror = mirror
        self._look = partial(look, models_dir) if mirror is None else mirror.look
        self._telemetry = telemetry
        limits = VettingLimits(settings.vetting_timeout_s, settings.vetting_memory_bytes)
        cache = VettingCache(settings.cache_dir, limits)
        self._loader = Loader(models_dir, engine, limits, cache, telemetry)
        self._scanned = Found({}, {})
        self._tried: dict[PackageKey, Stamp | None] = {}
        self._registry.add_listener(PackageGauges(telemetry))
        self._unloading = GracefulUnload(engine, answered, self._freed)
        self._residency = Residency(
            self._registry, self._unloading, engine.usage, self.configured, settings.memory_budget, telemetry
        )
        self._change = asyncio.Lock()
        self._turns = TurnAllowance(time.monotonic())
        self._demand = asyncio.Lock()
        self._room = asyncio.Event()  # set when a package was freed

    def add_listener(self, listener: Listener) -> None:
        """As `PackageRegistry.add_listener`."""
        self._registry.add_listener(listener)

    def remove_listener(self, listener: Listener) -> None:
        """As `PackageRegistry.remove_listener`."""
        self._registry.remove_listener(listener)

    async def load_all(self) -> None:
        """Load what the folder holds: a version of each configured model first, then the newest of each, then others.

        Raises:
            PackageError: a configured model has no version that can be loaded; the message names the package, the file
                and the damage of its newest version; or the folder cannot be read.
        """
        if self._mirror is not None:
            await self._mirror.start()
        async with self._change:
            await self._scan()
            new = self._new()
            for key in new:
                self._registry.note(PackageStatus(key, "loading"))
            self._registry.open()
            for name in self.configured:
                await self._load_configured(name, [key for key in new if key.name == name])
            newest = {key.name: key for key in reversed(new)}
            left = [key for key in new if state_of(key, self._registry) == "loading"]
            await self._load_each(sorted(left, key=lambda key: newest[key.name] != key))

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
        if self._mirror is not None:
            await self._mirror.sync()
        async with self._change:
            await self._scan()
            await self._load_each(self._new())
            self._unload_gone()
            self._residency.evict(self._residency.victims(self._residency.excess_bytes()))

    async def load(self, name: str) -> None:
        """As `Repository.load`."""
        if self._mirror is not None:
            await self._mirror.have(name)
        async with self._change:
            await self._scan()
            keys = [key for key in self._scanned.packages if key.name == name]
            if name in self._scanned.unreadable:
                raise FileDamaged(f"{name}: its folder cannot be read ({self._scanned.unreadable[name]})")
            refused = self._scanned.unfetched(name)
            if not keys and not refused:
                raise NotFound(f"There is no package {name[:MAX_QUOTED]} in the folder of models.")
            self._policy.include(name)
            missing = [key for key in keys if state_of(key, self._registry) != "ready"]
            refused |= await self._load_each(missing, urgent=keys[0] if keys else None)
            newest = max([*keys, *refused], key=lambda key: key.version)
            if (error := refused.get(newest)) is not None:
                raise type(error)(f"{newest}: {error}") from error

    async def unload(self, name: str) -> None:
        """As `Repository.unload`."""
        async with self._change:
            known = self._registry.statuses(name)
            if not known:
                raise NotFound(f"There is no model {name[:MAX_QUOTED]}; GET /models lists what there is.")
            self._policy.exclude(name)
            for status in known:
                if status.package is not None:
                    self._residency.unload(status.package)
                elif status.on_demand or status.state == "refused":
                    state: State = "unloading" if status.state == "unloading" else "unloaded"
                    self._registry.note(PackageStatus(status.key, state, memory_bytes=status.memory_bytes))

    async def demand(self, key: PackageKey) -> None:
        """As `Repository.demand`: one at a time, each when there is room for it and it is its turn."""
        async with self._demand:
            turn = Turn()
            while True:
                self._room.clear()
                async with self._change:
                    wait_s = await self._try(key, turn)
                if wait_s is None:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._room.wait()

    async def close(self) -> None:
        """Stop loading on demand and unloading; the engine's own drain frees what is left."""
        if self._mirror is not None:
            self._mirror.close()
        await self.stop_demands()
        await self._unloading.close()

    async def _scan(self) -> None:
        before, self._scanned = self._scanned, await asyncio.to_thread(self._look)
        for name in self._scanned.unreadable.keys() - before.unreadable.keys():
            reason = f"its folder cannot be read ({self._scanned.unreadable[name]})"
            log.error("package refused", package=name, reason=reason)
        for key in (*self._scanned.packages, *self._scanned.absent):
            if key.name not in self._policy and self._registry.get(key) is None:
                self._registry.note(PackageStatus(key, "unloaded"))
        for key, error in self._scanned.unfetched().items():
            status = self._registry.get(key) or PackageStatus(key, "refused")
            if key.name in self._policy and status.state == "refused" and status.reason != str(error):
                self._residency.refuse(key, error)

    def _new(self) -> list[PackageKey]:
        return new_packages(self._scanned.packages, self._tried, self._registry, self._policy)

    async def _try(self, key: PackageKey, turn: Turn) -> float | None:
        """Load a package on demand if it fits; returns seconds until the next try, None where there is none."""
        try:
            await self._scan()
        except FileDamaged as error:  # in a while it may be there again
            log.warning("not loaded on demand", package=str(key), reason=str(error))
            self._residency.keep_out(key, UNREADABLE)
            return None
        status = self._registry.get(key)
        if status is None or not status.on_demand:
            return None
        if key not in self._scanned.packages:
            if status.state != "unloading":
                self._forget(key)
            return None
        try:
            self._residency.check(key, self._residency.budget.measured(key) or 0)
        except OverBudget as error:
            self._residency.refuse(key, error)
            return None
        excess = self._residency.excess_bytes(key, files_bytes(self._scanned.packages[key]))
        if excess > 0 and status.state != "unloading":
            return self._make_room(key, excess, turn)
        began = time.monotonic()
        await self._load_each([key], urgent=key)
        if turn.makes_room:
            self._turns.spend(time.monotonic() - began, time.monotonic())
        return None

    def _make_room(self, key: PackageKey, excess_bytes: int, turn: Turn) -> float | None:
        """Unload others for a package on demand when it is its turn; returns as `_try`."""
        now = time.monotonic()
        if not turn.makes_room and (wait_s := self._turns.wait_s(now)):
            if not turn.is_deferred:
                turn.is_deferred = True
                self._telemetry.package_loads_deferred.inc()
                log.warning(
                    "packages take turns in memory; the budget is too small", package=str(key), wait_s=round(wait_s, 1)
                )
            self._residency.keep_out(key, TAKE_TURNS, wait_s)
            return wait_s
        chosen = self._residency.victims(excess_bytes)
        turn.makes_room = turn.makes_room or bool(chosen)
        turn.ends = turn.ends or now + PATIENCE_S
        self._residency.keep_out(key, ALL_IN_USE if chosen is None else KEPT_OUT)
        self._residency.evict(chosen)
        return LOOK_S if chosen is not None or now < turn.ends else None

    async def _load_configured(self, name: str, keys: list[PackageKey]) -> None:
        if name in self._scanned.unreadable:
            raise FileDamaged(f"{name}: its folder cannot be read ({self._scanned.unreadable[name]})")
        refused = self._scanned.unfetched(name)
        if not keys and not refused and self._scanned.problem is not None:
            raise FileDamaged(self._scanned.problem)
        if not keys and not refused:
            raise ManifestRefused(f"{name}: there is no package of this name in the folder {self._models_dir}")
        for key in keys:
            refused |= await self._load_each([key])
            if key not in refused:
                return
        newest = max(refused, key=lambda key: key.version)
        raise type(refused[newest])(f"{newest}: {refused[newest]}") from refused[newest]

    async def _load_each(
        self, keys: Sequence[PackageKey], urgent: PackageKey | None = None
    ) -> dict[PackageKey, PackageError]:
        """Load packages one after the other, and keep out those that do not fit the budget.

        Args:
            keys: of the packages.
            urgent: has others unloaded where it does not fit; so has one that takes over from an older version.

        Returns:
            The errors of those that were refused.
        """
        refused: dict[PackageKey, PackageError] = {}
        known = {key: self._registry.get(key) or PackageStatus(key, "unloaded") for key in keys}
        loading = [replace(status, state="loading", reason=None, retry_after_s=None) for status in known.values()]
        for status in loading:
            self._registry.note(status)
        try:
            for key in keys:
                older = self._registry.newest_ready(key.name)
                takes_over = older is not None and older.key.version < key.version
                error = await self._load(key, evicts=key == urgent or takes_over)
                if error is not None:
                    refused[key] = error
        finally:
            for status in loading:
                if self._registry.get(status.key) is status:  # cancelled before its turn, or during it
                    self._registry.note(
                        replace(status, state="unloaded", reason=KEPT_OUT if status.on_demand else None)
                    )
        return refused

    async def _load(self, key: PackageKey, *, evicts: bool) -> PackageError | None:
        """Load one package, or keep it out where it does not fit; returns why it was refused, or None."""
        kept = self._unloading.cancel(key)
        if kept is not None:  # it was being unloaded, and the engine still has it
            return self._admit(key, kept, evicts=evicts)
        excess = partial(self._residency.excess_bytes, key, files_bytes(self._scanned.packages[key]))
        if evicts:
            self._residency.evict(self._residency.victims(excess()))
        elif excess(leaving=False) > 0:
            self._residency.keep_out(key)
            return None
        self._tried[key] = self._scanned.packages[key]
        try:
            package, grown_bytes = await self._loader.load(key, partial(self._residency.check, key))
        except PackageError as error:
            return self._residency.refuse(key, error)
        self._residency.budget.record(key, grown_bytes)
        return self._admit(key, package, evicts=evicts)

    def _admit(self, key: PackageKey, package: ServedPackage, *, evicts: bool) -> PackageError | None:
        """Serve a package that the engine has, unless it does not fit after all; returns as `_load`."""
        memory_bytes = self._residency.budget.measured(key) or 0
        self._registry.note(PackageStatus(key, "ready", package=package, memory_bytes=memory_bytes))
        try:
            self._residency.check(key, memory_bytes)
        except OverBudget as error:
            self._unloading.begin(package)
            return self._residency.refuse(key, error)
        if evicts:
            self._residency.evict(self._residency.victims(self._residency.excess_bytes(), spared=key))
        elif self._residency.excess_bytes(leaving=False) > 0 and not self._residency.stays(key):
            self._residency.put_away(key, package)
        return None

    def _unload_gone(self) -> None:
        there = {*self._scanned.packages, *self._scanned.absent}
        for status in gone_packages(there, self._registry, self.configured):
            if status.package is not None:
                self._residency.unload(status.package)
            elif status.state != "unloading":
                self._forget(status.key)
        for key in changed_packages(self._scanned.packages, self._tried, self._registry):
            self._tried[key] = self._scanned.packages.get(key)
            log.warning("a served package's folder changed or went; it is served as it was", package=str(key))

    def _freed(self, key: PackageKey) -> None:
        self._telemetry.package_unloads.inc()
        log.info("package unloaded", package=str(key))
        self._room.set()
        status = self._registry.get(key)
        if status is None or status.state != "unloading":  # it is being loaded anew, or was refused
            return
        if key in self._scanned.packages:
            self._registry.note(replace(status, state="unloaded"))
        else:
            self._forget(key)

    def _forget(self, key: PackageKey) -> None:
        self._registry.forget(key)
        self._tried.pop(key, None)
        self._residency.budget.forget(key)
