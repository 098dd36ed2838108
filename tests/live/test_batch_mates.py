"""Requests that share a batch: cancelled ones do not affect the others, and batch-coupled scores share none."""

import asyncio
from pathlib import Path

import httpx
import numpy as np

from service.media.encoders import npy
from tests.support.serving import TIMEOUT_S, ServiceProcess, metric
from tests.support.toy import write_toy_package

CALLERS = 40
NPY = {"content-type": "application/x-npy"}


def asynchronous(process: ServiceProcess) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=3 * CALLERS)
    base_url = f"http://127.0.0.1:{process.port}"
    return httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, limits=limits, trust_env=False)


async def ask(client: httpx.AsyncClient, seed: int) -> bytes:
    answer = await client.post("/generate?format=npy", json={"seed": seed, "n": 40})
    assert answer.status_code == 200
    return answer.content


async def stay_while_others_leave(process: ServiceProcess) -> list[bytes]:
    """Send as many requests to keep as to cancel, mixed, so that they share batches."""
    async with asynchronous(process) as client:
        leaving = [asyncio.create_task(ask(client, seed)) for seed in range(CALLERS)]
        staying = [asyncio.create_task(ask(client, seed)) for seed in range(CALLERS)]
        while not any(stays.done() for stays in staying):  # some are computed, some queue, some are still on their way
            await asyncio.wait(staying, return_when=asyncio.FIRST_COMPLETED)
        for leaves in leaving:
            leaves.cancel()
        return await asyncio.gather(*staying)


def test_clients_that_leave_cost_their_batch_mates_nothing(service: ServiceProcess, client: httpx.Client) -> None:
    alone = [client.post("/generate?format=npy", json={"seed": seed, "n": 40}).content for seed in range(CALLERS)]
    for _ in range(3):
        assert asyncio.run(stay_while_others_leave(service)) == alone
    client.post("/generate", json={"n": 1})  # behind all requests that are still queued
    assert metric(client, "ganymede_queue_samples", model="toy") == 0


def test_a_batch_coupled_score_is_of_its_callers_own_group_whoever_else_asks(
    service: ServiceProcess, client: httpx.Client
) -> None:
    groups = [
        np.random.default_rng(seed).integers(0, 256, (1 + seed % 5, 8, 8, 1), np.uint8) for seed in range(CALLERS)
    ]
    path = "/score?model=coupled"
    alone = [client.post(path, content=npy(group), headers=NPY).json()["scores"] for group in groups]

    async def together() -> list[httpx.Response]:
        async with asynchronous(service) as many:
            return await asyncio.gather(*(many.post(path, content=npy(group), headers=NPY) for group in groups))

    assert [answer.json()["scores"] for answer in asyncio.run(together())] == alone
    assert client.get("/models/coupled/versions/1").json()["discriminator_on_device"]["buckets"] == []


def test_a_discriminator_that_denies_its_batch_statistics_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_toy_package(tmp_path, "toy")
    manifest = write_toy_package(tmp_path, "toy", 2, batch_coupled=True) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"batch_coupled": true', '"batch_coupled": false'))
    with ServiceProcess(tmp_path).loaded() as process, process.client() as client:
        refused = client.get("/models/toy/versions/2").json()
        assert refused["state"] == "refused"
        assert "batch_coupled" in refused["reason"]
        assert client.post("/generate").json()["version"] == "1"
