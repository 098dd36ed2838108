"""Writer and reader meet: what training writes is valid, is read, is served, and means the same on both sides."""

import asyncio
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

pytest.importorskip("torch", reason="the writer needs the `train` extra")

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob, Samples, ScoreJob
from service.engine.pixels import dequantise
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from service.packages import calibration as reading
from service.packages.package import read_package
from service.packages.registry import ServedPackage
from service.packages.repository.repository import LocalRepository
from service.packages.schema import Discriminator
from service.packages.unknown_label import UnknownLabelReader
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support import exported
from tests.support.toy import discriminator_entry, spec_of
from tests.support.toy_shape import Toy
from training.export import calibration as writing
from training.export.graphs.pair import floats
from training.export.unknown_label import ClassPosterior, UnknownLabel, mean_log_odds

SCHEMA = Path(__file__).parents[2] / "models" / "manifest.schema.json"
SEEDS = np.arange(6, dtype=np.uint64)


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.package(tmp_path_factory)


def test_a_written_package_is_valid_and_read(package: Path) -> None:
    content = json.loads((package / "manifest.json").read_bytes())
    jsonschema.validate(content, json.loads(SCHEMA.read_bytes()), cls=jsonschema.Draft7Validator)
    read = read_package(package)
    assert (read.key.name, read.key.version) == (exported.NAME, 1)
    assert set(read.models) == {"generator", "discriminator"}
    assert {name: set(arrays) for name, arrays in read.golden.items()} == {
        "generator": {"latent", "sample", "pixels"},
        "discriminator": {"sample", "logit"},
    }


async def serve(models_dir: Path) -> tuple[ServedPackage, Samples, Samples]:
    """Load the package as the service does; generate with scores, and score what was generated."""
    settings = Settings(models_dir=models_dir, default_model=exported.NAME)
    telemetry = Telemetry(CollectorRegistry())
    engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(max_batch_samples=4), telemetry)
    repository = LocalRepository(models_dir, engine, settings, telemetry, Lifecycle().answered)
    await repository.load_all()
    served = repository.find(None, None)
    generated = await engine.submit(GenerateJob(package=served.key, seeds=SEEDS, want_logits=True))
    scored = await engine.submit(ScoreJob(package=served.key, pixels=generated.pixels))
    await engine.drain(timeout_s=5)
    return served, generated, scored


def test_a_written_package_is_vetted_replayed_and_served(package: Path) -> None:
    served, generated, scored = asyncio.run(serve(package.parents[1]))
    assert served.report.generator.golden_deviation < 1e-4
    assert served.report.generator.reproducible
    assert generated.pixels is not None
    assert generated.pixels.shape == (6, 8, 8, 1)
    assert generated.logits is not None
    assert scored.logits is not None
    assert generated.logits.tobytes() == scored.logits.tobytes()


def test_both_sides_turn_bytes_into_the_same_floats() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    assert dequantise(pixels, (-1.0, 1.0)).tobytes() == floats(pixels.transpose(0, 3, 1, 2)).tobytes()


@pytest.mark.parametrize(
    "curve", [writing.Platt(1.5, -0.25), writing.PiecewiseLinear((-1.0, 0.5, 2.0), (-3.0, 0.0, 1.0))]
)
def test_both_sides_read_a_logit_as_the_same_probability(package: Path, curve: writing.Curve) -> None:
    written = writing.Calibration(curve, 10, 10, 0.0, 0.5, 0.5)
    manifest = read_package(package).manifest
    assert manifest.discriminator is not None
    content = manifest.discriminator.model_dump() | {"calibration": written.entry()}
    read = reading.Calibration.of(type(manifest.discriminator).model_validate(content, strict=False))
    assert read is not None
    logits = np.linspace(-50, 50, 101)
    assert read.probability(logits) == pytest.approx(written.probability(logits), rel=1e-12)
    assert read.log_density_ratio(logits) == pytest.approx(curve.log_odds(logits), rel=1e-12)


@pytest.mark.parametrize(
    "curve", [writing.Platt(1.5, -0.25), writing.PiecewiseLinear((-1.0, 0.5, 2.0), (-3.0, 0.0, 1.0))]
)
def test_both_sides_read_the_logits_of_every_class_as_the_same_class_and_probability(curve: writing.Curve) -> None:
    chance = np.random.default_rng(0)
    posterior = ClassPosterior(chance.normal(size=(10, 10)), chance.normal(size=10))
    labelled = writing.Calibration(writing.Platt(0.75, 0.5), 10, 10, 0.0, 0.5, 0.5)
    written = UnknownLabel(posterior, writing.Calibration(curve, 10, 10, 0.0, 0.5, 0.5), [-1, 0, 1], [-2, 0, 2], 0.5)
    toy = Toy(conditional=True)
    discriminator = discriminator_entry(toy, spec_of(toy, 0), spec_of(toy, 1))
    stated = discriminator | {"calibration": labelled.entry(), "unknown_label": written.entry()}
    reader = UnknownLabelReader.of(Discriminator.model_validate_json(json.dumps(stated)))
    assert reader is not None
    logits = chance.normal(scale=3, size=(50, 10)).astype(np.float32)
    read = reader.read(logits)
    as_written = logits.astype(np.float64)
    log_odds = mean_log_odds(posterior, labelled.curve, as_written)
    log_probabilities = posterior.log_probabilities(as_written)
    assert read.labels.tolist() == log_probabilities.argmax(axis=1).tolist()
    assert read.label_probabilities == pytest.approx(np.exp(log_probabilities.max(axis=1)), rel=1e-12)
    assert read.log_odds == pytest.approx(log_odds, rel=1e-10, abs=1e-12)
    assert reader.calibration.probability(read.log_odds) == pytest.approx(
        written.calibration.probability(log_odds), rel=1e-10
    )
