"""A generator that returns NaN for a rare seed: that request fails by name and is counted, no other is affected."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from service.engine.sampling.sampler import latents
from tests.support.serving import ServiceProcess, metric
from tests.support.toy import republish, write_toy_package

LATENT_SIZE = 16
ROOT_OF = 3.5  # below its negative, where one coordinate in four thousand lies, the square root is NaN
SEEDS = 20_000


def broken_for_a_rare_seed(content: bytes) -> bytes:
    """Add zero times the square root of a latent's first coordinate plus a constant to the generator's output."""
    model = onnx.load_from_string(content)
    nodes = model.graph.node
    place, gemm = next((place, node) for place, node in enumerate(nodes) if node.op_type == "Gemm")
    for name, value in (("first", np.array([0])), ("offset", np.float32(ROOT_OF)), ("nothing", np.float32(0))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    whole = gemm.output[0]
    gemm.output[0] = "sound"
    for number, (op, inputs, output) in enumerate(
        (
            ("Gather", ["latent", "first"], "coordinate"),
            ("Add", ["coordinate", "offset"], "radicand"),
            ("Sqrt", ["radicand"], "root"),
            ("Mul", ["root", "nothing"], "zero"),
            ("Add", ["sound", "zero"], whole),
        )
    ):
        node = helper.make_node(op, inputs, [output])
        if op == "Gather":
            node.attribute.append(helper.make_attribute("axis", 1))
        nodes.insert(place + 1 + number, node)
    serialized: bytes = model.SerializeToString()
    return serialized


@pytest.fixture(scope="module")
def rare() -> int:
    """A seed whose sample is NaN."""
    first = latents(np.arange(SEEDS, dtype=np.uint64), LATENT_SIZE, "standard_normal")[:, 0]
    return int(np.flatnonzero(first < -ROOT_OF)[0])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    models = tmp_path_factory.mktemp("models")
    folder = write_toy_package(models, "toy", latent_size=LATENT_SIZE)
    republish(folder, {"generator.onnx": broken_for_a_rare_seed((folder / "generator.onnx").read_bytes())})
    with ServiceProcess(models).loaded() as process:
        yield process


@pytest.mark.parametrize("form", ["json", "png", "npy", "npy&dtype=float32", "zip"])
def test_the_package_is_named_in_every_form(process: ServiceProcess, rare: int, form: str) -> None:
    with process.client() as client:
        before = metric(client, "ganymede_nonfinite_outputs_total", model="toy", graph="generator")
        answer = client.post(f"/generate?format={form}", json={"seed": rare})
        assert answer.status_code == 500
        assert "toy/1" in answer.json()["detail"]
        assert metric(client, "ganymede_nonfinite_outputs_total", model="toy", graph="generator") > before


def test_the_inference_protocol_blames_the_package_and_not_its_caller(process: ServiceProcess, rare: int) -> None:
    with process.client() as client:
        answer = client.post("/v2/models/toy/infer", json={"inputs": [], "parameters": {"seed": rare, "n": 1}})
        assert answer.status_code == 500
        assert "toy/1" in answer.json()["error"]


def test_who_shares_its_batch_is_answered(process: ServiceProcess, rare: int) -> None:
    def ask(seed: int) -> httpx.Response:
        with process.client() as client:
            return client.post("/generate?format=npy", json={"seed": seed})

    seeds = [*range(rare - 8, rare), rare, *range(rare + 1, rare + 9)]
    with ThreadPoolExecutor(len(seeds)) as threads:
        answers = dict(zip(seeds, threads.map(ask, seeds), strict=True))
    assert answers.pop(rare).status_code == 500
    for answer in answers.values():
        assert np.load(io.BytesIO(answer.content)).shape[0] == 1


def test_a_package_that_breaks_on_ordinary_numbers_is_not_ready(tmp_path: Path) -> None:
    write_toy_package(tmp_path, "toy", latent_size=LATENT_SIZE)
    folder = write_toy_package(tmp_path, "broken", latent_size=LATENT_SIZE)
    model = onnx.load_from_string(broken_for_a_rare_seed((folder / "generator.onnx").read_bytes()))
    offset = next(tensor for tensor in model.graph.initializer if tensor.name == "offset")
    offset.CopyFrom(numpy_helper.from_array(np.asarray(np.float32(0)), "offset"))
    republish(folder, {"generator.onnx": model.SerializeToString()})
    with ServiceProcess(tmp_path).loaded() as process:
        assert "not finite" in str(process.wait_for("package refused", package="broken/1")["reason"])
