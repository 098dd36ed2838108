"""Statistics over a socket: what is read before and after a request differs by exactly that request."""

from collections.abc import Callable

import httpx
import pytest

PARTS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


def counted(client: httpx.Client, path: str) -> dict[str, int]:
    """One model's counters, flat."""
    (model,) = client.get(f"/v2/models/{path}/stats").json()["model_stats"]
    flat = {name: model[name] for name in ("inference_count", "execution_count", "last_inference")}
    for part in PARTS:
        flat |= {f"{part}.{unit}": model["inference_stats"][part][unit] for unit in ("count", "ns")}
    runs = sum(batch["compute_infer"]["count"] for batch in model["batch_stats"])
    assert runs == model["execution_count"]
    assert all(type(value) is int for value in flat.values())
    return flat


def test_a_request_is_counted_exactly_by_whatever_route_it_came(client: httpx.Client) -> None:
    asks: tuple[Callable[[], httpx.Response], ...] = (
        lambda: client.post("/v2/models/colour/infer", json={"inputs": [], "parameters": {"seed": 7, "n": 5}}),
        lambda: client.post("/generate", json={"model": "colour", "n": 5}),
    )
    for ask in asks:
        before = counted(client, "colour")
        assert ask().status_code == 200
        after = counted(client, "colour/versions/1")
        grown = {name: after[name] - before[name] for name in after}
        assert grown["inference_count"] == 5
        assert grown["execution_count"] >= 1
        for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            assert grown[f"{part}.count"] == 1
        stages = [grown[f"{part}.ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output")]
        assert 0 < sum(stages) <= grown["success.ns"]
        assert grown["fail.count"] == grown["cache_hit.count"] == grown["cache_miss.count"] == 0
        assert grown["last_inference"] > 0


def test_a_request_that_is_late_counts_as_failed(client: httpx.Client) -> None:
    before = counted(client, "large")
    late = client.post("/generate", json={"model": "large", "n": 512}, headers={"x-timeout-ms": "1"})
    assert late.status_code == 504
    after = counted(client, "large")
    assert after["fail.count"] - before["fail.count"] == 1
    assert after["inference_count"] == before["inference_count"]


def test_every_graph_of_every_version_has_its_own_counters(client: httpx.Client) -> None:
    models = client.get("/v2/models/stats").json()["model_stats"]
    named = {(model["name"], model["version"]) for model in models}
    assert len(named) == len(models)
    assert {("toy", "1"), ("toy", "2"), ("toy.discriminator", "1"), ("bigan.encoder", "1")} < named
    assert ("blind.discriminator", "1") not in named


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/toy/stats"])
def test_batch_sizes_ascend_and_are_those_in_use(client: httpx.Client, path: str) -> None:
    client.post("/generate", json={"n": 7})
    buckets = client.get("/models/toy/versions/2").json()["generator_on_device"]["buckets"]
    for model in client.get(path).json()["model_stats"]:
        sizes = [batch["batch_size"] for batch in model["batch_stats"]]
        assert sizes == sorted(set(sizes))
        if (model["name"], model["version"]) == ("toy", "2"):
            assert set(sizes) <= set(buckets)
            assert sizes
