"""GET /v2/models/… over a socket: packages in the protocol's words, ready or not."""

import httpx
import pytest

PATHS = ("", "/versions/1")


@pytest.mark.parametrize("path", PATHS)
def test_a_generator_is_described_by_its_own_tensors(client: httpx.Client, path: str) -> None:
    assert client.get(f"/v2/models/infogan{path}").json() == {
        "name": "infogan",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "latent", "datatype": "FP32", "shape": [-1, 16]},
            {"name": "code", "datatype": "FP32", "shape": [-1, 12]},
        ],
        "outputs": [
            {"name": "sample", "datatype": "FP32", "shape": [-1, 1, 8, 8]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, 8, 8, 1]},
        ],
    }


def test_the_other_graphs_are_models_of_their_own(client: httpx.Client) -> None:
    discriminator = client.get("/v2/models/films.discriminator").json()
    assert discriminator["inputs"] == [
        {"name": "sample", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "user", "datatype": "INT64", "shape": [-1, 1]},
    ]
    assert discriminator["outputs"] == [{"name": "logit", "datatype": "FP32", "shape": [-1, 1]}]
    assert client.get("/v2/models/bigan.encoder").json()["outputs"][0]["name"] == "latent"


def test_every_version_that_is_ready_is_named_the_newest_first(client: httpx.Client) -> None:
    assert client.get("/v2/models/toy").json()["versions"] == ["2", "1"]
    assert client.get("/v2/models/toy.discriminator/versions/1").json()["versions"] == ["2", "1"]


@pytest.mark.parametrize("path", PATHS)
def test_a_configuration_says_how_large_a_request_may_be_and_how_it_is_batched(client: httpx.Client, path: str) -> None:
    config = client.get(f"/v2/models/classes{path}/config").json()
    assert config["max_batch_size"] == 4096
    assert config["input"] == [
        {"name": "latent", "data_type": "TYPE_FP32", "dims": [16]},
        {"name": "label", "data_type": "TYPE_INT64", "dims": [1], "reshape": {"shape": []}},
    ]
    assert config["output"][0] == {"name": "sample", "data_type": "TYPE_FP32", "dims": [1, 8, 8]}
    buckets = client.get("/models/classes/versions/1").json()["generator_on_device"]["buckets"]
    assert config["dynamic_batching"] == {"preferred_batch_size": buckets, "max_queue_delay_microseconds": 0}


def test_a_graph_that_judges_together_is_not_batched_and_one_of_large_samples_takes_fewer(
    client: httpx.Client,
) -> None:
    coupled = client.get("/v2/models/coupled.discriminator/config").json()
    assert "dynamic_batching" not in coupled
    assert coupled["max_batch_size"] == 1024
    largest = client.get("/v2/models/large/config").json()["max_batch_size"]
    assert largest == 64 * 1024 * 1024 // (3 * 72 * 72 * (4 + 1))
    over = {"inputs": [], "parameters": {"seed": 1, "n": largest + 1, "binary_data_output": True}}
    assert f"At most {largest}" in client.post("/v2/models/large/infer", json=over).json()["error"]


@pytest.mark.parametrize("path", ["toy/ready", "toy/versions/1/ready", "toy.discriminator/ready"])
def test_a_model_that_is_ready_says_so(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/v2/models/{path}")
    assert answer.json() == {"name": path.partition("/")[0], "ready": True}


@pytest.mark.parametrize(
    "path",
    ["nobody", "toy/versions/3", "toy/versions/x", "blind.discriminator", "toy.generator", "toy.", ".toy", "TOY"],
)
@pytest.mark.parametrize("what", ["", "/ready", "/config", "/stats"])
def test_a_model_that_is_not_there_is_not_found(client: httpx.Client, path: str, what: str) -> None:
    answer = client.get(f"/v2/models/{path}{what}")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_the_server_names_itself_and_the_extensions_it_knows(client: httpx.Client) -> None:
    server = client.get("/v2").json()
    assert server["name"] == "ganymede"
    assert server["version"] == client.get("/openapi.json").json()["info"]["version"]
    assert {"binary_tensor_data", "statistics", "model_configuration", "model_repository"} < set(server["extensions"])


def test_the_server_lives_and_is_ready(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
