"""Writer and reader meet for the whole family: each member is trained for a moment, written, read and served."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

pytest.importorskip("torch", reason="the writer needs the `train` extra")

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import EncodeJob, GenerateJob, Samples, ScoreJob
from service.engine.scheduling.scheduler import BatchLimits
from service.metrics import Telemetry
from service.packages.registry import ServedPackage
from service.packages.repository.repository import LocalRepository
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support import exported, small
from training import config as configuration
from training import data
from training.errors import CheckpointError
from training.export.export import export_run
from training.export.graphs import transfer
from training.loop import run
from training.loop.trainer import Trainer
from training.sampling.sample import Request, draw
from training.tables import Value

SCHEMA = Path(__file__).parents[2] / "models" / "manifest.schema.json"
SEEDS = np.arange(6, dtype=np.uint64)
MLP: dict[str, dict[str, Value]] = {
    "generator": {"kind": "mlp", "latent_size": 2, "widths": [16, 16]},
    "discriminator": {"kind": "mlp", "widths": [16, 16]},
}
FAMILY: dict[str, dict[str, dict[str, Value]]] = {
    "classes": {"generator": {"conditional": True}},
    "codes": {
        "code_head": {"width": 16},
        "objective": {
            "kind": "infogan",
            "categorical": {"digit": 10},
            "continuous": {"slant": [-1, 1]},
            "weight_categorical": 1.0,
            "weight_continuous": 0.1,
        },
    },
    "pairs": {"encoder": {"kind": "convolutional", "widths": [8, 16]}, "objective": {"kind": "bigan"}},
    "vectors": {"data": {"kind": "ring"}, **MLP},
    "items": {
        "data": {"kind": "planted"},
        "generator": {
            "kind": "factorization",
            "latent_size": 120,
            "prior": "gumbel",
            "conditional": True,
            "dimension": 4,
        },
        "discriminator": {"kind": "factorization", "dimension": 4},
        "objective": {"kind": "irgan", "pretraining_steps": 5, "temperature": 1.0, "baseline": "batch"},
    },
}


@pytest.fixture(params=FAMILY)
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One member's package, made once for all tests here."""
    name: str = request.param
    root = tmp_path_factory.getbasetemp() / "family"
    folder = root / "models" / name / "1"
    if not folder.exists():
        shortly: dict[str, dict[str, Value]] = {
            "trainer": {"total_samples": 320},
            "diagnostics": {"every_samples": 320},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
            run.start(small.config(**FAMILY[name], **shortly), root / name, exported.unheard)
            export_run(root / name, root / "models", name, 1, exported.unheard)
    return folder


class Served:
    """What the service answered of a package."""

    package: ServedPackage
    together: Samples
    alone: list[Samples]
    scored: Samples
    told: Samples
    encoded: Samples | None = None


async def serve(models_dir: Path, name: str) -> Served:
    """Load one package as the service does; draw, score what was drawn, and encode it where it can be."""
    settings = Settings(models_dir=models_dir, default_model=name, load_models=name)
    telemetry = Telemetry(CollectorRegistry())
    engine = LocalEngine(Runtime(device="cpu", threads=1), BatchLimits(max_batch_samples=4), telemetry)
    repository = LocalRepository(models_dir, engine, settings, telemetry, Lifecycle().answered)
    await repository.load_all()
    served = Served()
    served.package = repository.find(name)
    manifest = served.package.manifest
    ids = np.arange(len(SEEDS)) if manifest.condition else None
    is_image = manifest.sample.kind == "image"

    def draw(place: slice) -> GenerateJob:
        return GenerateJob(
            package=served.package.key,
            seeds=SEEDS[place],
            conditions=None if ids is None else ids[place],
            want_pixels=is_image,
            want_sample=True,
            want_logits=True,
        )

    codes = None if manifest.codes is None else np.tile([3, np.nan], (len(SEEDS), 1))
    told: dict[str, Any] = {
        "labels": None if manifest.labels is None else np.full(len(SEEDS), 3),
        "codes": codes,
        "conditions": None if ids is None else np.full(len(SEEDS), 3),
        "truncation": None if manifest.latent.prior == "gumbel" else 0.7,
    }
    served.told = await engine.submit(replace(draw(slice(None)), **told))
    served.together = await engine.submit(draw(slice(None)))
    served.alone = [await engine.submit(draw(slice(i, i + 1))) for i in range(len(SEEDS))]
    pixels, sample = (served.together.pixels, None) if is_image else (None, served.together.sample)
    labels, key = served.together.labels, served.package.key
    served.scored = await engine.submit(
        ScoreJob(package=key, pixels=pixels, sample=sample, labels=labels, conditions=ids)
    )
    if manifest.encoder is not None:
        served.encoded = await engine.submit(EncodeJob(package=key, pixels=pixels, sample=sample))
    await engine.drain(timeout_s=5)
    return served


def array(values: NDArray[np.generic] | None) -> NDArray[np.generic]:
    assert values is not None
    return values


def test_a_member_of_the_family_is_written_valid_and_keeps_the_seeds_promise_when_served(package: Path) -> None:
    content = json.loads((package / "manifest.json").read_bytes())
    jsonschema.validate(content, json.loads(SCHEMA.read_bytes()), cls=jsonschema.Draft7Validator)
    served = asyncio.run(serve(package.parents[1], package.parent.name))
    together = array(served.together.sample)
    assert b"".join(array(each.sample).tobytes() for each in served.alone) == together.tobytes()
    assert array(served.scored.logits).tobytes() == array(served.together.logits).tobytes()
    name, encoded, report = package.parent.name, served.encoded, served.package.report
    assert (served.together.labels is not None) == (name == "classes")
    assert (served.together.codes is not None) == (name == "codes")
    assert (together.dtype.name, report.generator.buckets) == (
        ("int64", (1,)) if name == "items" else ("float32", report.generator.buckets)
    )
    assert report.generator.reproducible
    assert ("reference" in content) == (served.package.reference is not None) == (name == "vectors")
    assert (encoded is not None) == (name in {"codes", "pairs"})
    if encoded is not None:
        assert (encoded.latents is not None) == (name == "pairs")
        assert (encoded.readings is not None) == (name == "codes")
    if encoded is not None and encoded.readings is not None:
        np.testing.assert_allclose(encoded.readings[:, :10].sum(axis=1), 1, atol=1e-5)


def test_a_run_begins_with_the_networks_of_a_package_or_is_told_why_it_cannot(package: Path) -> None:
    config = configuration.load(package.parents[2] / package.parent.name / "config.toml")
    trainer = Trainer(config, data.load(config.data))
    if package.parent.name == "items":
        with pytest.raises(CheckpointError, match="are over items, and their graphs do not name their weights"):
            transfer.find(package)
        return
    assert transfer.begin_from(trainer, transfer.find(package)) == []
    assert trainer.history[0].details["package"] == package.parent.name


def test_a_run_and_its_package_draw_what_the_service_draws_for_the_same_seeds(package: Path) -> None:
    name = package.parent.name
    served = asyncio.run(serve(package.parents[1], name))
    named: dict[str, dict[str, Any]] = {"classes": {"label": "3"}, "codes": {"codes": ["digit=3"]}}
    told: dict[str, Any] = {"condition": 3} if name == "items" else {"truncation": 0.7, **named.get(name, {})}
    # Rounding may differ between torch and ONNX Runtime: of a pixel by one step, in one of a hundred at most.
    most, share = {"vectors": (1e-5, 1.0), "items": (0.0, 0.0)}.get(name, (1.0, 0.01))
    for place in (package, package.parents[2] / name):
        for options, theirs in ((told, served.told), ({}, served.together)):
            if name == "items" and not options:
                continue  # a request has one user
            asked = Request(place=place, seeds="0-5", **options)
            ours = draw(asked, exported.unheard, lambda _: None)
            expected = array(theirs.sample if theirs.pixels is None else theirs.pixels)
            assert (ours.samples.shape, ours.samples.dtype) == (expected.shape, expected.dtype)
            apart = np.abs(ours.samples.astype(np.float64) - expected.astype(np.float64))
            assert (apart.max() <= most, (apart > 0).mean() <= share) == (True, True)
            if theirs.labels is not None:
                assert ours.inputs["label"].tolist() == theirs.labels.tolist()
            if theirs.codes is not None:
                assert np.array_equal(np.stack([*ours.codes.values()], axis=1), theirs.codes)
