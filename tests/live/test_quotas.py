"""Quotas of keys over the real service: what counts, what is answered, and that all processes share one bucket."""

import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry
from tests.support.serving import ServiceProcess, metric

Limited = Mapping[str, httpx.Client]


def limited(rate: float | None, burst: int | None = None) -> Entry:
    return Entry(sha256="0" * 64, samples_per_second=rate, burst=burst)


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "several processes"])
def clients(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Limited]:
    """Clients by the name of their key."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    granted = {
        "slow": limited(0.01, 1000), "seconds": limited(20.0, 20), "shared": limited(0.01, 40), "free": limited(None),
        "busy": limited(0.01, 2000),
    }  # fmt: skip
    keys = {name: make_key(name, entry, path)[0] for name, entry in granted.items()}
    with ServiceProcess(
        models_dir, keys_file=path, api_workers=request.param, load_models="toy,unnamed,bigan", queue_samples=1
    ).loaded() as process:
        clients = {name: process.client(authorization=f"Bearer {key}") for name, key in keys.items()}
        yield clients
        for client in clients.values():
            client.close()


def left(answer: httpx.Response) -> int:
    """What the header says that the key may still ask for."""
    return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])


def npy(count: int, *shape: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((count, *shape), np.uint8))
    return file.getvalue()


def test_every_form_of_asking_counts_its_samples(clients: Limited) -> None:
    client = clients["slow"]
    shape = np.load(io.BytesIO(client.post("/generate?format=npy").content)).shape[1:]
    images = {"content": npy(3, *shape), "headers": {"content-type": "application/x-npy"}}
    latent = {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [1]}]}
    assert client.post("/v2/models/toy/infer", json=latent).status_code == 400
    before = left(client.post("/generate"))
    counted = 0
    requests: list[tuple[str, dict[str, Any], int]] = [
        ("/generate", {"json": {"n": 5}}, 5),
        ("/generate?format=npy", {"json": {"n": 7}}, 7),
        ("/generate", {"json": {"seeds": "0-3,9"}}, 5),
        ("/generate", {"json": {"n": 2, "select": {"method": "best-of", "candidates": 4}}}, 8),
        ("/score", images, 3),
        ("/score?model=unnamed", images, 30),
        ("/score?model=unnamed&label=3", images, 3),
        ("/encode?model=bigan", images, 3),
        ("/reconstruct?model=bigan&format=npy", images, 3),
        ("/v2/models/toy/infer", {"json": {"parameters": {"seed": 7, "n": 6}, "inputs": []}}, 6),
    ]
    for path, asked, samples in requests:
        answer = client.post(path, **asked)
        assert answer.status_code == 200, answer.text
        counted += samples
        assert before - left(answer) == counted, path
        assert answer.headers["ratelimit-policy"] == '"samples";q=1000;w=100000'
    answer = client.get("/models/toy/versions/2/samples/7.png", follow_redirects=True)
    assert before - left(answer) == counted + 1
    assert "ratelimit" not in client.get("/models").headers
    assert "ratelimit" not in clients["free"].post("/generate").headers
    assert metric(client, "ganymede_key_samples_total", key="slow") == 1 + 1 + counted + 1


def test_what_a_key_has_used_up_is_429_until_the_time_that_is_named(clients: Limited) -> None:
    client = clients["seconds"]
    asked = {"n": 20, "seed": 7}
    expected = client.post("/generate", json=asked)
    refused = client.post("/generate", json=asked)
    told_at = time.monotonic()
    assert (expected.status_code, refused.status_code) == (200, 429)
    assert refused.headers["content-type"] == "application/problem+json"
    assert "20 samples a second" in refused.json()["detail"]
    retry_after_s = int(refused.headers["retry-after"])
    assert retry_after_s == 1
    protocol = client.post("/v2/models/toy/infer", json={"parameters": {"seed": 7, "n": 20}, "inputs": []})
    assert (protocol.status_code, list(protocol.json())) == (429, ["error"])
    assert client.get("/models").status_code == 200  # it counts samples, not requests
    time.sleep(max(0.0, told_at + retry_after_s - time.monotonic()))
    again = client.post("/generate", json=asked)
    assert again.status_code == 200
    assert again.json() == expected.json()
    assert metric(client, "ganymede_rejected_total", reason="quota") >= 2


def test_more_than_a_key_may_ever_have_at_once_is_no_429(clients: Limited) -> None:
    client = clients["seconds"]
    refused = client.post("/generate", json={"n": 21})
    assert refused.status_code == 422
    assert "at most 20 samples at once" in refused.json()["detail"]
    protocol = client.post("/v2/models/toy/infer", json={"parameters": {"seed": 7, "n": 21}, "inputs": []})
    assert (protocol.status_code, "at most 20" in protocol.json()["error"]) == (400, True)


def test_all_connections_share_what_a_key_has(clients: Limited) -> None:
    statuses = []
    for _ in range(24):  # in several processes, whichever takes the connection
        with httpx.Client(base_url=clients["shared"].base_url, headers=clients["shared"].headers) as client:
            statuses.append(client.post("/generate", json={"n": 4}, timeout=60).status_code)
    assert statuses == [200] * 10 + [429] * 14


def test_what_the_queue_refuses_is_not_counted(clients: Limited) -> None:
    client = clients["busy"]
    before = left(client.post("/generate"))

    def ask(_: int) -> list[tuple[int, bool]]:
        with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=60) as own:
            answers = [own.post("/generate?format=npy", json={"n": 3}) for _ in range(20)]
        return [(answer.status_code, "he queue is" in answer.text) for answer in answers]

    with ThreadPoolExecutor(12) as pool:
        outcomes = Counter(outcome for outcomes in pool.map(ask, range(12)) for outcome in outcomes)
    assert set(outcomes) == {(200, False), (429, True)}
    assert left(client.post("/generate")) == before - 1 - 3 * outcomes[200, False]
