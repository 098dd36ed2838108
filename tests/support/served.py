"""A repository over a folder, with a real engine, wired as in the application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from service.packages.registry import ServedPackage, State
from service.packages.repository.mirror import Mirror
from service.packages.repository.repository import LocalRepository
from service.packages.repository.scan import LoadPolicy
from service.server.lifecycle import Lifecycle
from service.settings import Settings

MAX_BATCH = 4  # few batch sizes to verify at load


class Served:
    """A repository over a folder, with its own engine, registry and requests in flight.

    Args:
        models_dir: folder of packages, or a URL; then `cache_dir` is among the settings.
        answered: waits for requests in flight; None waits for those of `lifecycle`.
        **settings: by name.
    """

    def __init__(
        self, models_dir: Path | str, answered: Callable[[], Awaitable[None]] | None = None, **settings: str
    ) -> None:
        self.registry = CollectorRegistry()
        telemetry = Telemetry(self.registry)
        runtime = Runtime(device="cpu", threads=1)
        self.engine = LocalEngine(runtime, BatchLimits(max_batch_samples=MAX_BATCH), telemetry)
        self.lifecycle = Lifecycle()
        values = Settings(models_dir=models_dir, **{"default_model": "toy", **settings})  # type: ignore[arg-type]
        folder, mirror = models_dir, None
        if isinstance(folder, str):
            mirror = Mirror(folder, values.cache_dir, LoadPolicy(values), telemetry)
            folder = mirror.folder
        answered = answered or self.lifecycle.answered
        self.repository = LocalRepository(folder, self.engine, values, telemetry, answered, mirror)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def states(self) -> dict[str, State]:
        """State of every package, newest version first."""
        return {str(status.key): status.state for status in self.repository.statuses()}

    async def pixels(self, package: ServedPackage, seed: int = 7) -> NDArray[np.uint8]:
        """Submit a job for one sample to the engine, as a request does that found this package."""
        samples = await self.engine.submit(GenerateJob(package=package.key, seeds=np.array([seed], np.uint64)))
        assert samples.pixels is not None
        return samples.pixels

    async def until(self, key: str, state: State | None) -> None:
        """Wait until a package has a state, or None: is forgotten."""
        while self.states().get(key) != state:  # noqa: ASYNC110  (the repository has no event to wait for)
            await asyncio.sleep(0)


@asynccontextmanager
async def loaded(models_dir: Path | str, **settings: str) -> AsyncIterator[Served]:
    """Serve a folder."""
    served = Served(models_dir, None, **settings)
    try:
        await served.repository.load_all()
        yield served
    finally:
        await served.repository.close()
        await served.engine.drain(timeout_s=5)
