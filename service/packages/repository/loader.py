"""Makes a package ready, from its folder: read, vetted, loaded and verified, off the event loop.

    models_dir/NAME/VERSION ──▶ read_package (thread) ──▶ vet (child process) ──▶ engine.load ──▶ ServedPackage

A graph that passed is not vetted again, by this process or the next (`vetting/cache.py`). And a version that was served
once never changes: the seeds and URLs that callers keep under its name must not change their meaning.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from service.engine.interface import Engine
from service.engine.model_spec import PackageKey
from service.errors import ManifestRefused, PackageError
from service.memory import trimmed_bytes
from service.metrics import Telemetry
from service.packages.files import MANIFEST
from service.packages.package import Package, engine_graphs, read_package
from service.packages.registry import ServedPackage
from service.packages.repository.scan import package_folder
from service.packages.schema import Graph, Manifest
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits, vet

# Vetting holds a graph's bytes, the parsed graph, and two copies of what was inferred, its own and the library's.
VETTING_COPIES = 4

CheckSize = Callable[[int], None]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Loader:
    """Makes packages ready; counts loads and refusals."""

    def __init__(
        self, models_dir: Path, engine: Engine, limits: VettingLimits, cache: VettingCache, telemetry: Telemetry
    ) -> None:
        self._models_dir = models_dir
        self._engine = engine
        self._limits = limits
        self._telemetry = telemetry
        self._cache = cache
        self._passed: set[str] = set()
        self._served: dict[PackageKey, str] = {}

    async def load(self, key: PackageKey, check_size: CheckSize = lambda _: None) -> tuple[ServedPackage, int]:
        """Make a package ready, which the engine then has loaded, verified and warmed up.

        Args:
            key: of the package.
            check_size: is told the bytes of its graphs before they are loaded, the least that it will take; may raise.

        Returns:
            The package, and the bytes of memory that it takes: by how much the process grew, the heap trimmed before
            and after, and the bytes of its graphs at least. What requests take at the same time is counted with it.

        Raises:
            PackageError: it cannot be served, and why.
        """
        started = time.monotonic()
        before = await asyncio.to_thread(trimmed_bytes)
        try:
            package = await self.make_ready(key, check_size)
        except PackageError as error:
            self._telemetry.package_loads.labels("refused").inc()
            log.error("package refused", package=str(key), reason=str(error))  # noqa: TRY400  (the reason says it all)
            raise
        except Exception as error:
            # A bug in the service that one package triggers must not affect the others.
            self._telemetry.package_loads.labels("refused").inc()
            log.exception("package refused", package=str(key))
            raise PackageError("the service failed while loading it; its log says how") from error
        seconds = time.monotonic() - started
        memory_bytes = max(await asyncio.to_thread(trimmed_bytes) - before, _graph_bytes(package.manifest))
        self._telemetry.package_loads.labels("ready").inc()
        self._telemetry.package_load_seconds.labels(key.name, str(key.version)).set(seconds)
        log.info(
            "package ready",
            package=str(key),
            sha256=package.sha256,
            load_s=round(seconds, 3),
            memory_bytes=memory_bytes,
        )
        return package, memory_bytes

    async def make_ready(self, key: PackageKey, check_size: CheckSize = lambda _: None) -> ServedPackage:
        """As `load`, neither counted nor logged; an error that is no PackageError is a fault of the service."""
        folder = package_folder(self._models_dir, key)
        package = await asyncio.to_thread(read_package, folder, self._limits.memory_bytes // VETTING_COPIES, key)
        served = self._served.get(key, package.sha256)
        if served != package.sha256:
            raise ManifestRefused(
                f"{MANIFEST}: its SHA-256 is {package.sha256}, but what was served as {key} before had {served}; "
                "a version never changes, so publish this one under a new number"
            )
        check_size(_graph_bytes(package.manifest))
        await self._vet(package)
        report = await self._engine.load(engine_graphs(package))
        self._served[key] = package.sha256
        return ServedPackage.of(key, package.manifest, package.sha256, report, package.reference)

    async def _vet(self, package: Package) -> None:
        """Vet the graphs that have not passed before."""
        graphs = {
            _identity(graph, package.manifest.files[graph.file].sha256): (graph, package.models[kind])
            for kind, graph in package.manifest.graphs.items()
        }
        unknown = frozenset(graphs.keys() - self._passed)
        unknown -= await asyncio.to_thread(self._cache.passed, unknown)
        if unknown:
            await vet([graphs[identity] for identity in graphs if identity in unknown], self._limits)
            await asyncio.to_thread(self._cache.note, unknown)
        self._passed |= graphs.keys()


def _graph_bytes(manifest: Manifest) -> int:
    return sum(manifest.files[graph.file].size for graph in manifest.graphs.values())


def _identity(graph: Graph, sha256: str) -> str:
    """Hash of what the manifest states of a graph and of the graph's bytes."""
    return hashlib.sha256(f"{graph.model_dump_json()}{sha256}".encode()).hexdigest()
