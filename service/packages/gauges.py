"""Shows the state of every package in the metrics: a listener of the registry."""

from service.engine.model_spec import PackageKey
from service.metrics import Telemetry
from service.packages.registry import PackageStatus


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
