"""Which packages are in memory and which are kept out, against the budget, and what metrics show of them."""

from collections.abc import Callable, Collection

import structlog

from service.engine.model_spec import PackageKey
from service.errors import OverBudget, PackageError
from service.metrics import Telemetry
from service.packages.registry import KEPT_OUT, PackageRegistry, PackageStatus, ServedPackage
from service.packages.repository.budget import Loaded, MemoryBudget, taken_bytes, victims
from service.packages.repository.unloading import GracefulUnload

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# Jobs in progress of a package, and when it was used last, on the monotonic clock.
Usage = Callable[[PackageKey], tuple[int, float]]


class Residency:
    """The packages in memory, against a budget.

    Args:
        registry: the state of every package.
        unloading: frees packages.
        usage: of a package that is ready.
        configured: names of models whose newest version stays.
        limit_bytes: as in `MemoryBudget`.
        telemetry: counts evictions.

    Attributes:
        budget: what each package takes.
    """

    def __init__(
        self,
        registry: PackageRegistry,
        unloading: GracefulUnload,
        usage: Usage,
        configured: Collection[str],
        limit_bytes: int,
        telemetry: Telemetry,
    ) -> None:
        telemetry.memory_budget_bytes.set(limit_bytes)
        self._telemetry = telemetry
        self._unloading = unloading
        self.budget = MemoryBudget(limit_bytes)
        self._registry = registry
        self._usage = usage
        self._configured = configured

    def loaded(self) -> list[Loaded]:
        """The packages in memory."""
        loaded = []
        for status in self._registry.statuses():
            key, taken = status.key, status.memory_bytes or 0
            if status.package is not None:
                loaded.append(Loaded(key, taken, self.stays(key), False, *self._usage(key)))
            elif status.state == "unloading":
                loaded.append(Loaded(key, taken, leaving=True))
        return loaded

    def stays(self, key: PackageKey) -> bool:
        """Whether a package is the newest of a configured model, or would be if it were loaded."""
        newest = self._registry.newest_ready(key.name)
        return key.name in self._configured and (newest is None or newest.key.version <= key.version)

    def excess_bytes(self, wanted: PackageKey | None = None, files_bytes: int = 0, *, leaving: bool = True) -> int:
        """By how much packages are beyond the budget; 0 or less where they are not.

        Args:
            wanted: is to be loaded as well.
            files_bytes: of its folder, the least that it will take where it was never loaded.
            leaving: whether those that are being unloaded count, too.
        """
        if not self.budget.limit_bytes or (wanted is not None and self.stays(wanted)):
            return 0
        wanted_bytes = 0 if wanted is None else self.budget.measured(wanted) or files_bytes
        loaded = [each for each in self.loaded() if leaving or not each.leaving]
        return taken_bytes(loaded) + wanted_bytes - self.budget.limit_bytes

    def victims(self, excess_bytes: int, spared: PackageKey | None = None) -> list[PackageKey] | None:
        """As `budget.victims`, of the packages in memory without one that is spared."""
        return victims([each for each in self.loaded() if each.key != spared], excess_bytes)

    def check(self, key: PackageKey, memory_bytes: int) -> None:
        """Refuse a package that does not fit beside what stays.

        Raises:
            OverBudget: it does not.
        """
        if self.budget.limit_bytes and not self.stays(key):
            reason = self.budget.refusal(memory_bytes, [each for each in self.loaded() if each.pinned])
            if reason is not None:
                raise OverBudget(reason)

    def refuse(self, key: PackageKey, error: PackageError) -> PackageError:
        """Note that a package is not served, and why; returns the error."""
        self._registry.note(PackageStatus(key, "refused", str(error), memory_bytes=self.budget.measured(key)))
        return error

    def keep_out(self, key: PackageKey, reason: str = KEPT_OUT, retry_after_s: float | None = None) -> None:
        """Leave a package out of memory until a request asks for it.

        Args:
            key: of the package.
            reason: for its callers.
            retry_after_s: seconds after which asking again may help; None is the usual time of a load.
        """
        memory_bytes = self.budget.measured(key)
        status = PackageStatus(
            key, "unloaded", reason, on_demand=True, memory_bytes=memory_bytes, retry_after_s=retry_after_s
        )
        if self._registry.get(key) != status:
            self._registry.note(status)

    def evict(self, keys: Collection[PackageKey] | None) -> None:
        """Unload packages until requests ask for them."""
        for key in keys or ():
            status = self._registry.get(key)
            if status is not None and status.package is not None:
                self._telemetry.package_evictions.inc()
                log.info("package evicted", package=str(key), memory_bytes=status.memory_bytes)
                self.put_away(key, status.package)

    def put_away(self, key: PackageKey, package: ServedPackage) -> None:
        """Unload a package until a request asks for it."""
        memory_bytes = self.budget.measured(key)
        self._registry.note(PackageStatus(key, "unloading", KEPT_OUT, on_demand=True, memory_bytes=memory_bytes))
        self._unloading.begin(package)

    def unload(self, package: ServedPackage) -> None:
        """Unload a package for good."""
        memory_bytes = self.budget.measured(package.key)
        self._registry.note(PackageStatus(package.key, "unloading", memory_bytes=memory_bytes))
        self._unloading.begin(package)


class PackageGauges:
    """Sets the series of each package; a `Listener`.

    Args:
        telemetry: has them.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._shown: dict[PackageKey, tuple[str, ...]] = {}  # the labels of its `package_info`

    def open(self) -> None:
        """As `PackageRegistry.open`: no series shows it."""

    def note(self, status: PackageStatus) -> None:
        """As `PackageRegistry.note`."""
        labels = status.key.name, str(status.key.version)
        self._telemetry.package_ready.labels(*labels).set(status.state == "ready")
        self._telemetry.package_refused.labels(*labels).set(status.state == "refused")
        self._telemetry.package_on_demand.labels(*labels).set(status.on_demand)
        is_held = status.state in {"ready", "unloading"}
        self._telemetry.package_memory_bytes.labels(*labels).set((is_held and status.memory_bytes) or 0)
        if (shown := self._shown.pop(status.key, None)) is not None:
            self._telemetry.package_info.remove(*shown)
        if (package := status.package) is not None:
            generator = package.report.generator
            self._shown[status.key] = shown = (*labels, package.sha256, generator.provider, generator.precision)
            self._telemetry.package_info.labels(*shown).set(1)

    def forget(self, key: PackageKey) -> None:
        """As `PackageRegistry.forget`."""
        labels = key.name, str(key.version)
        if (shown := self._shown.pop(key, None)) is not None:
            self._telemetry.package_info.remove(*shown)
        for series in (
            self._telemetry.package_ready,
            self._telemetry.package_refused,
            self._telemetry.package_on_demand,
            self._telemetry.package_memory_bytes,
            self._telemetry.package_load_seconds,
        ):
            series.remove(*labels)
