"""NVIDIA's own clients, unchanged, against a real service: `tritonclient.http`, its aio twin, and `perf_analyzer`."""

import asyncio
import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from service.engine.sampling.sampler import latents
from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess

SEEDS = np.arange(7, 12, dtype=np.uint64)
LATENTS = latents(SEEDS, 16, "standard_normal")
CALLERS = 50
# Of the tritonclient 2.50 wheel for Linux, `data/bin`; it needs libb64 and CUDA's runtime library, but no GPU.
PERF_ANALYZER = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[triton.InferenceServerClient]:
    """NVIDIA's client of the shared service."""
    with triton.InferenceServerClient(address(service), network_timeout=TIMEOUT_S) as client:
        yield client


@pytest.fixture(scope="module")
def pixels(service: ServiceProcess) -> NDArray[np.uint8]:
    """The samples of /generate for the same seeds, as one array."""
    with service.client() as http:
        answer = http.post("/generate?format=npy", json={"seed": 7, "n": len(SEEDS)})
    drawn: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))
    return drawn


def address(service: ServiceProcess) -> str:
    return f"127.0.0.1:{service.port}"


def latent_input(rows: NDArray[np.float32] = LATENTS, *, binary: bool = True) -> Any:  # noqa: ANN401 - it has no types
    given = triton.InferInput("latent", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    return given


def test_the_client_reads_everything_there_is_to_read(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "ganymede"
    assert client.get_model_metadata("toy", "1")["versions"] == ["2", "1"]
    assert client.get_model_config("toy.discriminator")["max_batch_size"] == 4096
    (counted,) = client.get_inference_statistics("toy")["model_stats"]
    assert counted["version"] == "2"
    assert len(client.get_inference_statistics()["model_stats"]) > 1
    assert {"name": "toy", "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_the_client_is_given_the_samples_that_generate_answers(
    client: triton.InferenceServerClient, pixels: NDArray[np.uint8], binary_in: bool, binary_out: bool | None
) -> None:
    wanted = None if binary_out is None else [triton.InferRequestedOutput("pixels", binary_data=binary_out)]
    result = client.infer("toy", [latent_input(binary=binary_in)], outputs=wanted, request_id="seven")
    np.testing.assert_array_equal(result.as_numpy("pixels"), pixels)
    assert result.get_response()["id"] == "seven"
    assert (result.as_numpy("sample") is None) is (wanted is not None)


@pytest.mark.parametrize("coming", [None, "gzip", "deflate"])
@pytest.mark.parametrize("going", [None, "gzip", "deflate"])
def test_the_client_packs_and_unpacks(
    client: triton.InferenceServerClient, pixels: NDArray[np.uint8], coming: str | None, going: str | None
) -> None:
    result = client.infer(
        "toy", [latent_input()], request_compression_algorithm=coming, response_compression_algorithm=going
    )
    np.testing.assert_array_equal(result.as_numpy("pixels"), pixels)


def test_the_client_may_send_a_seed_in_place_of_a_latent(
    client: triton.InferenceServerClient, pixels: NDArray[np.uint8]
) -> None:
    result = client.infer("toy", [], parameters={"seed": 7, "n": len(SEEDS)})
    np.testing.assert_array_equal(result.as_numpy("pixels"), pixels)


def test_the_client_reads_every_error(client: triton.InferenceServerClient) -> None:
    asks: dict[str, Callable[[], object]] = {
        "404": lambda: client.infer("nobody", [latent_input()]),
        "400": lambda: client.infer("toy", [latent_input(LATENTS[:, :15])]),
        "413": lambda: client.infer("toy", [latent_input(np.zeros((300_000, 16), np.float32))]),
        "504": lambda: client.infer("toy", [], parameters={"seed": 7, "n": 4096}, timeout=1),
    }
    for status, ask in asks.items():
        with pytest.raises(InferenceServerException) as refused:
            ask()
        assert refused.value.status() == status
        assert refused.value.message().endswith(".")
    assert client.is_server_live()


def test_the_client_loads_and_unloads(models_dir: Path) -> None:
    with (
        ServiceProcess(models_dir, load_models="toy").loaded() as own,
        triton.InferenceServerClient(address(own), network_timeout=TIMEOUT_S) as client,
    ):
        assert not client.is_model_ready("bigan")
        client.load_model("bigan")
        assert client.is_model_ready("bigan.encoder")
        client.unload_model("bigan", unload_dependents=True)
        assert not client.is_model_ready("bigan.encoder")
        for name, config in (("nobody", None), ("bigan", "{}")):
            with pytest.raises(InferenceServerException):
                client.load_model(name, config=config)


def test_many_callers_of_the_aio_client_are_each_given_their_own_samples(
    service: ServiceProcess, pixels: NDArray[np.uint8]
) -> None:
    async def run() -> None:
        async with triton_aio.InferenceServerClient(address(service)) as client:
            assert await client.is_model_ready("toy")
            rows = [index % len(SEEDS) for index in range(CALLERS)]
            given = [latent_input(LATENTS[row : row + 1]) for row in rows]
            results = await asyncio.gather(*(client.infer("toy", [each]) for each in given))
            for row, result in zip(rows, results, strict=True):
                np.testing.assert_array_equal(result.as_numpy("pixels")[0], pixels[row])
            with pytest.raises(InferenceServerException) as refused:
                await client.infer("nobody", [given[0]])
            assert refused.value.status() == "404"

    asyncio.run(run())


@pytest.mark.skipif(PERF_ANALYZER is None, reason="perf_analyzer is not on PATH, nor named by PERF_ANALYZER")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("toy", ["--concurrency-range", "4"]),
        ("toy", ["--concurrency-range", "2", "-b", "8", "--async"]),
        ("bigan.discriminator", []),
        ("classes", ["--input-data", "zero", "--request-rate-range", "50", "--request-distribution", "poisson"]),
    ],
    ids=["four callers", "batches of eight", "discriminator", "classes at a rate"],
)
def test_perf_analyzer_measures_and_its_counters_agree_with_the_services(
    service: ServiceProcess, tmp_path: Path, model: str, options: list[str]
) -> None:
    def counted() -> tuple[int, int]:
        with service.client() as http:
            (stats,) = http.get(f"/v2/models/{model}/stats").json()["model_stats"]
        return stats["inference_stats"]["success"]["count"], stats["inference_stats"]["fail"]["count"]

    report = tmp_path / "report.csv"
    answered_before, failed_before = counted()
    command = [str(PERF_ANALYZER), "-i", "http", "-u", address(service), "-m", model, *options, "-f", str(report)]
    # One short window of each: it must measure, the stability of the figures is not checked.
    window = ["--measurement-mode", "count_windows", "--measurement-request-count", "20", "-s", "999", "-r", "3"]
    done = subprocess.run([*command, *window], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = csv.DictReader(report.read_text().splitlines())
    assert float(row["Inferences/Second"]) > 0
    answered, failed = counted()
    assert answered - answered_before >= 20
    assert failed == failed_before
    stages = ("Server Queue", "Server Compute Input", "Server Compute Infer", "Server Compute Output")
    assert sum(float(row[stage]) for stage in stages) <= float(row["p99 latency"])


def test_the_example_needs_no_sdk(service: ServiceProcess) -> None:
    command = [sys.executable, "examples/binary_tensors.py", address(service), "classes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert done.stdout == "(4, 8, 8, 1)\n"


def test_the_example_says_why_it_is_refused(service: ServiceProcess) -> None:
    command = [sys.executable, "examples/binary_tensors.py", address(service), "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (1, "")
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr
