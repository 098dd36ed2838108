"""GET /models and below: what is served, and what is known of it."""

import hashlib
import json
from pathlib import Path

import httpx
import pytest


def test_every_model_is_listed_with_its_versions_newest_first(client: httpx.Client) -> None:
    models = client.get("/models").json()["models"]
    (toy,) = [model for model in models if model["name"] == "toy"]
    assert (toy["name"], toy["default"]) == ("toy", True)
    for version, number in zip(toy["versions"], ("2", "1"), strict=True):
        assert version.pop("memory_bytes") > 0
        assert version == {"version": number, "state": "ready", "on_demand": False}
    (toy,) = [model for model in client.get("/models").json()["models"] if model["name"] == "toy"]
    assert [model["name"] for model in models if model["default"]] == ["toy"]
    assert client.get("/models/toy").json() == toy


def test_a_version_says_what_it_takes_what_it_makes_and_where_it_comes_from(
    client: httpx.Client, models_dir: Path
) -> None:
    details = client.get("/models/classes/versions/1").json()
    manifest = (models_dir / "classes/1/manifest.json").read_bytes()
    assert details["package_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert details["latent"] == {"size": 16, "prior": "standard_normal"}
    assert details["labels"][3] == "class 3"
    assert details["sample"] == {"kind": "image", "height": 8, "width": 8, "channels": 1}
    assert details["discriminator"]["calibration_method"] == "platt"
    assert details["provenance"]["objective"] == json.loads(manifest)["provenance"]["objective"]


def test_a_version_says_what_loading_it_showed_on_this_machine(client: httpx.Client) -> None:
    details = client.get("/models/toy/versions/1").json()
    graph = details["generator_on_device"]
    assert graph["provider"].endswith("ExecutionProvider")
    assert graph["buckets"]
    assert graph["golden_deviation"] <= 1e-5
    assert details["discriminator_on_device"]["provider"] == graph["provider"]
    assert "discriminator_on_device" not in client.get("/models/blind/versions/1").json()


def test_a_version_says_which_codes_condition_and_encoder_it_has(client: httpx.Client) -> None:
    infogan, ring, films = (client.get(f"/models/{name}/versions/1").json() for name in ("infogan", "ring", "films"))
    assert infogan["codes"] == {
        "categorical": [{"name": "kind_0", "size": 10}],
        "continuous": [
            {"name": "number_0", "low": -1.0, "high": 1.0},
            {"name": "number_1", "low": 0.0, "high": 5.0},
        ],
    }
    assert infogan["encoder"] == {"gives": ["code"], "takes": []}
    assert ring["encoder"] == {"gives": ["latent"], "takes": []}
    assert ring["encoder_on_device"]["golden_deviation"] <= 1e-5
    assert ring["sample"] == {"kind": "vector", "size": 2}
    assert films["sample"] == {"kind": "item", "count": 12}
    assert (ring["discriminator"]["takes"], films["discriminator"]["takes"]) == ([], ["condition"])
    assert client.get("/models/classes/versions/1").json()["discriminator"]["takes"] == ["label"]
    assert films["condition"] == {"name": "user", "count": 5}
    assert films["generator_on_device"]["buckets"] == [1]
    assert not {"codes", "encoder", "encoder_on_device"} & films.keys()


@pytest.mark.parametrize("path", ["/models/nobody", "/models/toy/versions/3", "/models/toy/versions/01"])
def test_what_does_not_exist_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404
