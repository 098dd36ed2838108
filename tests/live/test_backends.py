"""A service on OpenVINO gives reproducible bytes for a seed, and states reduced precision in every response."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess
from tests.support.toy import write_toy_package

session = pytest.importorskip("service.engine.backends.openvino")

HAS_BF16 = "BF16" in session.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
PRECISIONS = ["fp32", *(["bf16"] if HAS_BF16 else [])]


@pytest.fixture(scope="module", params=PRECISIONS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    models_dir: Path = tmp_path_factory.mktemp("models")
    write_toy_package(models_dir, height=12, width=12)
    settings = {"backend": "openvino", "precision": request.param, "max_batch_samples": 4, "encoder_threads": 1}
    with ServiceProcess(models_dir, **settings) as service, service.loaded().client() as client:
        yield client


def precision_of(client: httpx.Client) -> str:
    precision: str = client.get("/models/toy/versions/1").json()["generator_on_device"]["precision"]
    return precision


def test_a_seeds_bytes_are_the_same_alone_and_among_others(client: httpx.Client) -> None:
    def pixels(**asked: int) -> NDArray[np.uint8]:
        answer = client.post("/generate?format=npy", json=asked)
        assert answer.status_code == 200, answer.text
        array: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))
        return array

    together = pixels(seed=0, n=7)
    for seed in range(7):
        assert pixels(seed=seed).tobytes() == together[seed].tobytes()


def test_what_computes_is_told_with_its_difference_from_fp32(client: httpx.Client) -> None:
    details = client.get("/models/toy/versions/1").json()
    generator, discriminator = details["generator_on_device"], details["discriminator_on_device"]
    assert (generator["provider"], discriminator["precision"]) == ("OpenVINO", "fp32")
    assert generator["runtime"].startswith("openvino ")
    assert 0 <= generator["pixel_difference"]["mean"] <= generator["pixel_difference"]["largest"]
    assert "pixel_difference" not in discriminator


def test_an_answer_in_fewer_bits_says_so_and_one_in_fp32_need_not(client: httpx.Client) -> None:
    told = precision_of(client)
    expected = None if told == "fp32" else told
    assert client.post("/generate?format=png", json={"seed": 1}).headers.get("x-precision") == expected
    assert client.post("/generate?format=npy", json={"seed": 1}).headers.get("x-precision") == expected
    assert client.post("/generate", json={"seed": 1}).json().get("precision") == expected


def test_the_realness_of_a_sample_is_the_score_of_its_picture(client: httpx.Client) -> None:
    told = client.post("/generate", json={"seed": 3, "scores": True}).json()["samples"][0]["realness"]
    picture = client.post("/generate?format=png", json={"seed": 3}).content
    scored = client.post("/score", content=picture, headers={"content-type": "image/png"}).json()["scores"][0]
    assert told == scored["probability"]


def test_fewer_bits_are_refused_at_the_start_where_nothing_computes_in_them() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={"GANYMEDE_PRECISION": "bf16"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == 2
    assert "GANYMEDE_PRECISION='bf16': Value error, needs the backend openvino" in ended.stderr
