"""The fixed generators, and the packages around them."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx
import pytest

from benchmarks.contenders import bare, packages
from benchmarks.contenders.networks import LATENT_SIZE, NETWORKS, make
from service.packages.manifest import read_manifest

WEIGHTS = {"g28": 1.20e6, "g64": 3.81e6, "zero": 50}


@pytest.mark.parametrize("name", ["g28", "zero"])
def test_a_network_is_the_same_bytes_every_time(name: str) -> None:
    first, second = make(name), make(name)
    assert hashlib.sha256(first.model).digest() == hashlib.sha256(second.model).digest()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_stated_weights_and_draws_different_images(name: str) -> None:
    network = make(name)
    graph = onnx.load_model_from_string(network.model).graph
    assert sum(int(np.prod(weight.dims)) for weight in graph.initializer) == pytest.approx(
        WEIGHTS[name], rel=0.01, abs=50
    )
    latent = np.random.default_rng(1).standard_normal((3, LATENT_SIZE)).astype(np.float32)
    sample, pixels = bare.open_session(network.model, 1).run(["sample", "pixels"], {"latent": latent})
    assert sample.shape == (3, *network.shape)
    assert pixels.shape == (3, *network.shape[1:], network.shape[0])
    assert np.abs(sample).max() <= 1
    assert not np.array_equal(pixels[0], pixels[1])
    rounded = np.rint(255 * np.clip((sample + 1) / 2, 0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
    assert np.abs(rounded.astype(int) - pixels.astype(int)).max() <= 1


@pytest.mark.parametrize("name", NETWORKS)
def test_its_package_is_one_that_the_service_reads(name: str, tmp_path: Path) -> None:
    folder = packages.folder_of(name, tmp_path)
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.version) == (name, 1)
    assert packages.folder_of(name, tmp_path) == folder


def test_runners_that_share_a_session_answer_the_same(tmp_path: Path) -> None:
    model = str(packages.folder_of("zero", tmp_path) / "generator.onnx")
    inputs = bare.inputs_of(model, 5)
    first, second = bare.runners(model, 1, 2)
    assert np.array_equal(first(inputs), second(inputs))


def test_a_package_that_several_write_at_once_is_written_once(tmp_path: Path) -> None:
    begin = Barrier(4)

    def write(_: int) -> Path:
        begin.wait()
        return packages.folder_of("zero", tmp_path)

    with ThreadPoolExecutor(4) as writers:
        assert set(writers.map(write, range(4))) == {tmp_path / "zero/1"}
    assert [path.name for path in tmp_path.iterdir()] == ["zero"]
