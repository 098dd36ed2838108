"""Folders of real packages, good and damaged, loaded into the real engine."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from prometheus_client import CollectorRegistry

from service.engine.config import CPU, Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob
from service.engine.model_spec import LoadReport, PackageGraphs, PackageKey
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import FileDamaged, GoldenMismatch, GraphRefused, ManifestRefused, NotFound, NotReady, PackageError
from service.metrics import Telemetry
from service.packages.repository.repository import LocalRepository
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support.served import MAX_BATCH, Served, loaded
from tests.support.toy import republish, toy_files, toy_graphs, write_toy_package
from tests.support.toy_models import generator_model
from tests.support.toy_shape import Toy


def test_a_good_package_is_found_by_default_by_name_and_by_version(tmp_path: Path) -> None:
    write_toy_package(tmp_path)

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            repository = served.repository
            package = repository.find()
            assert package.key == PackageKey("toy", 1)
            assert repository.find("toy", 1) is repository.find("toy", "1") is repository.find("toy") is package
            assert repository.ready
            assert package.calibration is not None
            samples = await served.engine.submit(GenerateJob(package=package.key, seeds=np.array([7], np.uint64)))
            assert samples.pixels is not None
            assert samples.pixels.shape == (1, 8, 8, 1)

    asyncio.run(scenario())


def test_a_packages_hash_is_that_of_its_manifests_bytes(tmp_path: Path) -> None:
    folder = write_toy_package(tmp_path)

    async def scenario() -> str:
        async with loaded(tmp_path) as served:
            return served.repository.find().sha256

    assert asyncio.run(scenario()) == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_a_package_without_a_discriminator_is_served_without_a_calibration(tmp_path: Path) -> None:
    write_toy_package(tmp_path, discriminator=False)

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            package = served.repository.find()
            assert package.calibration is None
            assert package.report.discriminator is None

    asyncio.run(scenario())


def test_the_newest_version_that_is_ready_is_the_default(tmp_path: Path) -> None:
    for version in (9, 10, 11):
        write_toy_package(tmp_path, version=version, seed=version)
    (tmp_path / "toy/11/generator.onnx").unlink()

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            assert served.repository.find("toy").key.version == 10
            assert served.repository.find("toy", "9").key.version == 9
            with pytest.raises(NotFound, match="no model toy, version 11 that is ready; there are: toy/10, toy/9"):
                served.repository.find("toy", 11)
            states = [(status.key.version, status.state) for status in served.repository.statuses()]
            assert states == [(11, "refused"), (10, "ready"), (9, "ready")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("model", "version"), [("other", None), ("toy", 2), ("toy", "01"), ("toy", "latest"), ("../toy", None), ("", None)]
)
def test_what_is_not_there_is_not_found_and_the_answer_says_what_is(
    tmp_path: Path, model: str, version: str | int | None
) -> None:
    write_toy_package(tmp_path)

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            with pytest.raises(NotFound, match=r"there are: toy/1\.$"):
                served.repository.find(model, version)

    asyncio.run(scenario())


def test_a_callers_endless_name_is_not_repeated_to_it(tmp_path: Path) -> None:
    write_toy_package(tmp_path)

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            with pytest.raises(NotFound) as refusal:
                served.repository.find("x" * 100_000, "9" * 100_000)
            assert len(str(refusal.value)) < 250

    asyncio.run(scenario())


def test_before_and_while_it_loads_a_model_is_not_ready_rather_than_not_found(tmp_path: Path) -> None:
    write_toy_package(tmp_path)

    async def scenario() -> None:
        served = Served(tmp_path)
        with pytest.raises(NotReady, match="toy is still loading"):
            served.repository.find()
        loading = asyncio.create_task(served.repository.load_all())
        refusals = 0
        while not loading.done():
            assert served.repository.ready == bool([s for s in served.repository.statuses() if s.state == "ready"])
            if not served.repository.ready:
                with pytest.raises(NotReady):
                    served.repository.find()
                refusals += 1
            await asyncio.sleep(0)
        await loading
        assert refusals > 1
        assert served.repository.ready
        await served.engine.drain(timeout_s=5)

    asyncio.run(scenario())


def damage_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("2"))


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "discriminator.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "discriminator.onnx").write_bytes(content)


def cut_off(folder: Path) -> None:
    os.truncate(folder / "generator.onnx", 100)


def cut_off_with_its_hash(folder: Path) -> None:
    republish(folder, {"generator.onnx": (folder / "generator.onnx").read_bytes()[:-100]})


def remove_golden(folder: Path) -> None:
    (folder / "golden.npz").unlink()


def link_out(folder: Path) -> None:
    outside = folder.parent / ".outside"
    shutil.move(folder / "generator.onnx", outside)
    (folder / "generator.onnx").symlink_to(outside)


def other_weights(folder: Path) -> None:
    republish(folder, {"generator.onnx": generator_model(Toy(seed=1))})


def other_golden(folder: Path) -> None:
    republish(folder, {"golden.npz": toy_files(toy_graphs(seed=1))["golden.npz"]})


def judge_latents(folder: Path) -> None:
    """Let the discriminator judge pairs (x, z), with a golden latent that it has not."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["discriminator"]["inputs"].append(manifest["generator"]["inputs"][0])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden) | {"discriminator.latent": golden["generator.latent"]}
    np.savez(folder / "golden.npz", allow_pickle=False, **arrays)
    republish(folder, {"golden.npz": (folder / "golden.npz").read_bytes(), "discriminator.onnx": of_pairs(folder)})


def of_pairs(folder: Path) -> bytes:
    """The discriminator, with a latent among its inputs that it does not look at."""
    model = onnx.load_from_string((folder / "discriminator.onnx").read_bytes())
    latent = onnx.load_from_string((folder / "generator.onnx").read_bytes()).graph.input[0]
    model.graph.input.append(latent)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (damage_manifest, ManifestRefused, "toy/1: manifest.json: not JSON"),
        (remove_manifest, ManifestRefused, "toy/1: manifest.json: the file is missing"),
        (rename, ManifestRefused, "toy/2: manifest.json: name and version: are toy/1, but the folder is toy/2"),
        (flip_a_byte, FileDamaged, "toy/1: discriminator.onnx: SHA-256 [0-9a-f]{64} expected, [0-9a-f]{64} found"),
        (cut_off, FileDamaged, "toy/1: generator.onnx: 17409 bytes expected, 100 found"),
        (cut_off_with_its_hash, GraphRefused, "toy/1: generator.onnx: is not an ONNX graph, or is truncated"),
        (remove_golden, FileDamaged, "toy/1: golden.npz: the file is missing"),
        (link_out, FileDamaged, "toy/1: generator.onnx: not a plain file"),
        (other_weights, GoldenMismatch, "toy/1: .*generator"),
        (other_golden, GoldenMismatch, "toy/1: .*generator"),
        (judge_latents, GraphRefused, "toy/1: the discriminator takes sample, latent; this service knows"),
    ],
)
def test_a_configured_model_with_no_good_version_stops_the_start_naming_file_and_damage(
    tmp_path: Path, damage: Callable[[Path], None], error: type[PackageError], words: str
) -> None:
    damage(write_toy_package(tmp_path))

    async def scenario() -> None:
        async with loaded(tmp_path):
            pass

    with pytest.raises(error, match=f"^{words}"):
        asyncio.run(scenario())


def test_a_configured_model_that_is_not_in_the_folder_stops_the_start(tmp_path: Path) -> None:
    write_toy_package(tmp_path / "models")

    async def scenario(models_dir: Path, **settings: str) -> None:
        async with loaded(models_dir, **settings):
            pass

    with pytest.raises(ManifestRefused, match=r"^mnist: there is no package of this name in the folder"):
        asyncio.run(scenario(tmp_path / "models", default_model="mnist"))
    with pytest.raises(ManifestRefused, match=r"^faces: there is no package"):
        asyncio.run(scenario(tmp_path / "models", load_models="faces"))
    with pytest.raises(FileDamaged, match=r"^the folder .*nowhere cannot be read \(No such file or directory\)$"):
        asyncio.run(scenario(tmp_path / "nowhere"))


def test_damage_elsewhere_is_shown_and_disturbs_nothing(tmp_path: Path) -> None:
    write_toy_package(tmp_path)
    cut_off(write_toy_package(tmp_path, "broken"))
    write_toy_package(tmp_path, "fine", channels=3)

    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            assert served.repository.ready
            assert served.repository.find("fine").key == PackageKey("fine", 1)
            with pytest.raises(NotFound, match="no model broken that is ready; there are: fine/1, toy/1"):
                served.repository.find("broken")
            reasons = {status.key.name: status.reason for status in served.repository.statuses()}
            assert reasons == {
                "broken": "generator.onnx: 17409 bytes expected, 100 found",
                "fine": None,
                "toy": None,
            }
            assert served.metric("ganymede_package_ready", model="toy", version="1") == 1
            assert served.metric("ganymede_package_ready", model="broken", version="1") == 0
            assert served.metric("ganymede_package_refused", model="toy", version="1") == 0
            assert served.metric("ganymede_package_refused", model="broken", version="1") == 1
            shown = {"sha256": served.repository.find("fine").sha256, "provider": CPU, "precision": "fp32"}
            assert served.metric("ganymede_package_info", model="fine", version="1", **shown) == 1
            assert (served.metric("ganymede_package_load_seconds", model="fine", version="1") or 0) > 0

    asyncio.run(scenario())


def test_a_fault_of_the_service_on_one_package_does_not_take_the_others_down(tmp_path: Path) -> None:
    class FaultyEngine(LocalEngine):
        async def load(self, package: PackageGraphs) -> LoadReport:
            if package.key.name == "odd":
                raise RuntimeError("a case that nobody thought of")
            return await super().load(package)

    write_toy_package(tmp_path)
    write_toy_package(tmp_path, "odd")

    async def scenario() -> None:
        telemetry = Telemetry(CollectorRegistry())
        engine = FaultyEngine(Runtime(device="cpu", threads=1), BatchLimits(max_batch_samples=MAX_BATCH), telemetry)
        settings = Settings(models_dir=tmp_path, default_model="toy")
        repository = LocalRepository(tmp_path, engine, settings, telemetry, Lifecycle().answered)
        try:
            await repository.load_all()
            assert repository.ready
            reasons = {str(status.key): status.reason for status in repository.statuses()}
            assert reasons == {"odd/1": "the service failed while loading it; its log says how", "toy/1": None}
        finally:
            await engine.drain(timeout_s=5)

    asyncio.run(scenario())


def test_only_the_named_models_and_the_default_are_loaded_when_some_are_named(tmp_path: Path) -> None:
    for name in ("toy", "named", "other"):
        write_toy_package(tmp_path, name, discriminator=False)

    async def scenario() -> None:
        async with loaded(tmp_path, load_models=" named , toy") as served:
            states = [(str(status.key), status.state) for status in served.repository.statuses()]
            assert states == [("named/1", "ready"), ("other/1", "unloaded"), ("toy/1", "ready")]
            with pytest.raises(NotFound):
                served.repository.find("other")

    asyncio.run(scenario())
