"""Packages of every schema version that was ever published load for ever: these were written once and are never redone.

A new schema version adds a folder here; nothing in `packages/` is ever edited.
"""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import EncodeJob, GenerateJob, Job, Samples, ScoreJob
from service.engine.model_spec import PackageKey
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from service.packages.repository.repository import LocalRepository
from service.packages.schema import PiecewiseLinear, Platt
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support.serving import ServiceProcess

PACKAGES = Path(__file__).parent / "packages"
SEEDS = np.array([1, 2, 3], np.uint64)


async def load_and_ask(models_dir: Path, name: str, *jobs: Job) -> tuple[LocalRepository, list[Samples]]:
    """Load one model of a folder, and answer jobs for it."""
    telemetry = Telemetry(CollectorRegistry())
    engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(max_batch_samples=2), telemetry)
    settings = Settings(models_dir=models_dir, default_model=name, load_models=name)
    repository = LocalRepository(models_dir, engine, settings, telemetry, Lifecycle().answered)
    try:
        await repository.load_all()
        return repository, [await engine.submit(job) for job in jobs]
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
    repository, (samples,) = asyncio.run(
        load_and_ask(PACKAGES / "v1", name, GenerateJob(package=key, seeds=SEEDS, want_logits=True))
    )
    package = repository.find()
    assert (package.key, package.sha256) == (key, sha256), "a frozen package was edited"
    assert (len(package.manifest.labels.names) if package.manifest.labels else None) == labels
    assert package.calibration is not None
    assert isinstance(package.calibration.fit, calibration)
    assert samples.pixels is not None
    assert samples.pixels.shape == shape
    assert samples.logits is not None
    assert package.calibration.probability(samples.logits).shape == (3,)
    assert package.unknown_label is None


@pytest.mark.parametrize(
    ("name", "sha256", "shape", "dtype"),
    [
        ("codes", "c2ca848efbbc3d20957fdfd3f09e1139451c42b2d72fb4e540acf1163334b64c", (3, 1, 6, 4), "float32"),
        ("pairs", "420aab0891e2ceafa8413fbc26e316d5ceba4179f21bc04d9cc55c1f8f4091ff", (3, 1, 6, 4), "float32"),
        ("vectors", "7940521f73e926baba3a793f09ec467a18893769d251071a7d13361dd0446c23", (3, 3), "float32"),
        ("items", "c10175c64e219b7b0f1cbdcea7ecb666d99d8902044375b643b5a9584949c3c6", (3,), "int64"),
    ],
)
def test_every_member_of_the_family_loads_and_serves(
    name: str, sha256: str, shape: tuple[int, ...], dtype: str
) -> None:
    users = np.array([2, 0, 1]) if name == "items" else None
    job = GenerateJob(
        package=PackageKey(name, 1),
        seeds=SEEDS,
        conditions=users,
        want_pixels=False,
        want_sample=True,
        want_logits=True,
    )
    repository, (samples,) = asyncio.run(load_and_ask(PACKAGES / "v1", name, job))
    assert repository.find().sha256 == sha256, "a frozen package was edited"
    assert samples.sample is not None
    assert (samples.sample.shape, samples.sample.dtype.name) == (shape, dtype)
    assert samples.logits is not None
    assert (samples.codes is not None) == (name == "codes")


@pytest.mark.parametrize(("name", "latents", "readings"), [("codes", None, (3, 7)), ("pairs", (3, 4), None)])
def test_an_encoder_of_schema_version_1_reads(
    name: str, latents: tuple[int, int] | None, readings: tuple[int, int] | None
) -> None:
    job = EncodeJob(package=PackageKey(name, 1), pixels=np.arange(72, dtype=np.uint8).reshape(3, 6, 4, 1))
    _, (encoded,) = asyncio.run(load_and_ask(PACKAGES / "v1", name, job))
    assert (None if encoded.latents is None else encoded.latents.shape) == latents
    assert (None if encoded.readings is None else encoded.readings.shape) == readings


def test_a_package_of_schema_version_1_says_how_samples_without_a_label_are_judged() -> None:
    key = PackageKey("unlabelled", 1)
    job = ScoreJob(package=key, pixels=np.arange(72, dtype=np.uint8).reshape(3, 4, 6, 1))
    repository, (judged,) = asyncio.run(load_and_ask(PACKAGES / "v1", "unlabelled", job))
    package = repository.find()
    assert package.sha256 == "63b030e026ce98f3975b0ea3c07b6b78e49b4d0b981838e145e89397f303d465", "it was edited"
    assert package.unknown_label is not None
    assert judged.logits is not None
    read = package.unknown_label.read(judged.logits)
    assert read.labels.shape == read.log_odds.shape == (3,)


def test_a_package_that_is_older_than_scores_without_a_label_says_how_it_gets_them(tmp_path: Path) -> None:
    settings = {"default_model": "conditional", "load_models": "conditional", "cache_dir": str(tmp_path)}
    with ServiceProcess(PACKAGES / "v1", **settings) as process, process.loaded().client() as client:
        picture = client.post("/generate?format=png", json={"seed": 1, "label": 2}).content
        png = {"content-type": "image/png"}
        assert client.post("/score?label=2", content=picture, headers=png).status_code == 200
        answer = client.post("/score", content=picture, headers=png)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["loc"] == ["query", "label"]
        assert "python -m training calibrate models/conditional/2" in error["msg"]
