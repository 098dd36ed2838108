"""Packages of every schema version that was ever published load for ever: these were written once and are never redone.

A new schema version adds a folder here; nothing in `packages/` is ever edited.
"""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine.batch_policy import BatchLimits
from service.engine.graphs import PackageKey
from service.engine.local import LocalEngine
from service.engine.port import GenerateJob, Samples
from service.engine.session import Runtime
from service.packages.repository import Repository
from service.packages.schema import PiecewiseLinear, Platt
from service.settings import Settings
from service.telemetry import Telemetry

PACKAGES = Path(__file__).parent / "packages"


async def load_and_draw(models_dir: Path, name: str) -> tuple[Repository, Samples]:
    telemetry = Telemetry(CollectorRegistry())
    engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(max_batch_samples=2), telemetry)
    settings = Settings(models_dir=models_dir, default_model=name, load_models=name)
    repository = Repository(models_dir, engine, settings, telemetry)
    try:
        await repository.load_all()
        job = GenerateJob(package=repository.find().key, seeds=np.array([1, 2, 3], np.uint64), want_logits=True)
        return repository, await engine.submit(job)
    finally:
        await engine.drain(timeout_s=5)


@pytest.mark.parametrize(
    ("name", "key", "sha256", "shape", "labels", "calibration"),
    [
        (
            "plain",
            PackageKey("plain", 1),
            "9d79e20c8c7fcb9d3a4b56e287c58329c5931c72388f1b871dc5f3e656f1f6fb",
            (3, 6, 4, 1),
            None,
            Platt,
        ),
        (
            "conditional",
            PackageKey("conditional", 2),
            "c0624365258aa42cd40b78e361947bcfd36ff60172e35b0d77b957759d70e757",
            (3, 4, 6, 3),
            3,
            PiecewiseLinear,
        ),
    ],
)
def test_a_package_of_schema_version_1_loads_and_serves(
    name: str, key: PackageKey, sha256: str, shape: tuple[int, ...], labels: int | None, calibration: type
) -> None:
    repository, samples = asyncio.run(load_and_draw(PACKAGES / "v1", name))
    package = repository.find()
    assert (package.key, package.sha256) == (key, sha256), "a frozen package was edited"
    assert (len(package.manifest.labels.names) if package.manifest.labels else None) == labels
    assert package.calibration is not None
    assert isinstance(package.calibration.fit, calibration)
    assert samples.pixels is not None
    assert samples.pixels.shape == shape
    assert samples.logits is not None
    assert package.calibration.probability(samples.logits).shape == (3,)
