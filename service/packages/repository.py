"""The packages of a folder: found, read, vetted, loaded, and answered for by name.

    models_dir/NAME/VERSION ──▶ read_package (thread) ──▶ vet (child process) ──▶ engine.load ──▶ ServedPackage

A damaged package is refused with its reason and disturbs no other; only a *configured* model (the default, and those
that the operator named) without a single good version is a reason to stop. It knows neither HTTP nor how a sample is
computed, and never holds the event loop: files are read in a thread, graphs are vetted in another process, and the
engine answers for itself. All of its state changes on the event loop, so nothing is locked.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from service.engine.graphs import LoadReport, PackageKey
from service.engine.port import Engine
from service.errors import ManifestRefused, NotFound, NotReady, PackageError
from service.packages.calibration import Calibration
from service.packages.package import engine_graphs, read_package
from service.packages.schema import Manifest
from service.packages.vetting import VettingLimits, vet
from service.settings import Settings
from service.telemetry import Telemetry

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,9}")
# Loading one package takes about this long; a caller that waits less only asks again.
RETRY_AFTER_S = 2.0
MAX_QUOTED = 64  # characters of a caller's own words in a message

State = Literal["loading", "ready", "refused"]
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServedPackage:
    """A package that is ready.

    Attributes:
        key: name and version.
        manifest: what it says of itself.
        sha256: what identifies it.
        calibration: how its discriminator's logits are read; None without a discriminator.
        report: what loading it showed.
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    calibration: Calibration | None
    report: LoadReport


@dataclass(frozen=True, slots=True)
class PackageStatus:
    """Where one version of one package stands.

    Attributes:
        key: name and version.
        state: `loading` includes waiting for its turn.
        reason: why it was refused, one sentence for the operator; else None.
        package: what is served of it; None unless ready.
    """

    key: PackageKey
    state: State
    reason: str | None = None
    package: ServedPackage | None = None


def find_packages(models_dir: Path) -> list[PackageKey]:
    """Find what looks like a package: a folder `NAME/VERSION`, the version without leading zeros.

    Names that begin with a dot are half-written packages, and are left alone like everything else.

    Args:
        models_dir: folder of packages; it may be missing.

    Returns:
        By name, then the newest version first.
    """
    keys = [
        PackageKey(folder.parent.name, int(folder.name))
        for folder in models_dir.glob("*/*")
        if NAME.fullmatch(folder.parent.name) and VERSION.fullmatch(folder.name) and folder.is_dir()
    ]
    return sorted(keys, key=lambda key: (key.name, -key.version))


class Repository:
    """Loads packages once, and finds them by name and version.

    Args:
        models_dir: folder of packages.
        engine: what computes.
        settings: which models to load, and the limits of vetting.
        telemetry: where readiness is shown.
    """

    def __init__(self, models_dir: Path, engine: Engine, settings: Settings, telemetry: Telemetry) -> None:
        self._models_dir = models_dir
        self._engine = engine
        self._default = settings.default_model
        named = [name.strip() for name in settings.load_models.split(",") if name.strip()]
        self._configured = tuple(dict.fromkeys((self._default, *named)))
        self._loads_every_package = not named
        self._vetting = VettingLimits(settings.vetting_timeout_s, settings.vetting_memory_bytes)
        self._telemetry = telemetry
        self._statuses: dict[PackageKey, PackageStatus] = {}
        self._scanned = False

    @property
    def ready(self) -> bool:
        """Whether every configured model has a version that is ready."""
        return all(self._newest_ready(name) is not None for name in self._configured)

    def statuses(self) -> list[PackageStatus]:
        """Say where every package stands that was found; by name, then the newest version first."""
        return list(self._statuses.values())

    async def load_all(self) -> None:
        """Load what the folder holds, configured models first and of each the newest version first.

        Raises:
            PackageError: a configured model has no version that can be loaded; the message names the package, the file
                and the damage of its newest version.
        """
        found = await asyncio.to_thread(find_packages, self._models_dir)
        wanted = [key for key in found if self._loads_every_package or key.name in self._configured]
        self._statuses = {key: PackageStatus(key, "loading") for key in wanted}
        self._scanned = True
        for name in self._configured:
            await self._load_configured(name, [key for key in wanted if key.name == name])
        for key in wanted:
            if key.name not in self._configured:
                await self._load(key)

    async def _load_configured(self, name: str, keys: list[PackageKey]) -> None:
        if not keys:
            raise ManifestRefused(f"{name}: there is no package of this name in the folder {self._models_dir}")
        errors = [error for key in keys if (error := await self._load(key)) is not None]
        if len(errors) == len(keys):
            raise type(errors[0])(f"{keys[0]}: {errors[0]}") from errors[0]

    async def _load(self, key: PackageKey) -> PackageError | None:
        """Load one package; answer why it was refused, or None."""
        labels = (key.name, str(key.version))
        started = time.monotonic()
        try:
            package = await self._serve(key)
        except PackageError as error:
            log.error("package refused", package=str(key), reason=str(error))  # noqa: TRY400  (the reason says it all)
            return self._refuse(key, error)
        except Exception:
            # A fault of ours that one package brings to light must not take the others down.
            log.exception("package refused", package=str(key))
            return self._refuse(key, PackageError("the service failed while loading it; its log says how"))
        seconds = time.monotonic() - started
        self._statuses[key] = PackageStatus(key, "ready", package=package)
        self._telemetry.package_ready.labels(*labels).set(1)
        self._telemetry.package_load_seconds.labels(*labels).set(seconds)
        log.info("package ready", package=str(key), sha256=package.sha256, load_s=round(seconds, 3))
        return None

    def _refuse(self, key: PackageKey, error: PackageError) -> PackageError:
        self._statuses[key] = PackageStatus(key, "refused", reason=str(error))
        self._telemetry.package_ready.labels(key.name, str(key.version)).set(0)
        return error

    async def _serve(self, key: PackageKey) -> ServedPackage:
        package = await asyncio.to_thread(read_package, self._models_dir / key.name / str(key.version))
        graphs = engine_graphs(package)
        manifest = package.manifest
        await vet([(graph, package.models[kind]) for kind, graph in manifest.graphs.items()], self._vetting)
        report = await self._engine.load(graphs)
        calibration = Calibration.of(manifest.discriminator) if manifest.discriminator else None
        return ServedPackage(key, manifest, package.sha256, calibration, report)

    def find(self, model: str | None = None, version: str | int | None = None) -> ServedPackage:
        """Find a package that is ready.

        Args:
            model: its name; None is the default model.
            version: its version; None is the newest that is ready.

        Returns:
            The package.

        Raises:
            NotFound: there is no such package, or it was refused; the message says what there is.
            NotReady: it is still loading.
        """
        name = self._default if model is None else model
        statuses = [status for status in self._statuses.values() if status.key.name == name]
        if version is not None:
            statuses = [status for status in statuses if str(status.key.version) == str(version)]
        for status in statuses:
            if status.package is not None:
                return status.package
        asked = name[:MAX_QUOTED] + (f", version {str(version)[:MAX_QUOTED]}" if version is not None else "")
        if not self._scanned or any(status.state == "loading" for status in statuses):
            raise NotReady(f"The model {asked} is still loading.", RETRY_AFTER_S)
        there = ", ".join(str(status.key) for status in self._statuses.values() if status.state == "ready")
        raise NotFound(f"There is no model {asked} that is ready; there are: {there or 'none'}.")

    def _newest_ready(self, name: str) -> ServedPackage | None:
        packages = (status.package for status in self._statuses.values() if status.key.name == name)
        return next((package for package in packages if package is not None), None)
