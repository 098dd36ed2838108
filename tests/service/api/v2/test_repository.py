"""POST /v2/repository over a socket: what there is, and loading and unloading it as a whole."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toys that these tests load and unload."""
    folder = tmp_path_factory.mktemp("repository")
    write_toy_package(folder, "toy")
    write_toy_package(folder, "other", encoder=True)
    (write_toy_package(folder, "broken") / "generator.onnx").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def operator(folder: Path) -> Iterator[httpx.Client]:
    """A client on the service's own host."""
    with ServiceProcess(folder).loaded() as process, process.client() as client:
        yield client


def states(client: httpx.Client, **body: object) -> dict[str, str]:
    entries = client.post("/v2/repository/index", json=body).json()
    assert [sorted(entry) for entry in entries] == [["name", "reason", "state", "version"]] * len(entries)
    return {entry["name"]: entry["state"] for entry in entries}


def test_the_index_lists_every_graph_and_why_one_is_not_ready(operator: httpx.Client) -> None:
    assert states(operator) == {
        "broken": "UNAVAILABLE",
        "other": "READY",
        "other.discriminator": "READY",
        "other.encoder": "READY",
        "toy": "READY",
        "toy.discriminator": "READY",
    }
    assert "broken" not in states(operator, ready=True)
    entries = operator.post("/v2/repository/index").json()  # an empty body lists everything
    assert next(entry["reason"] for entry in entries if entry["name"] == "broken").startswith("generator.onnx")


def test_a_package_goes_and_comes_back_with_all_of_its_graphs(operator: httpx.Client) -> None:
    unloaded = operator.post("/v2/repository/models/other/unload", json={"parameters": {"unload_dependents": True}})
    assert (unloaded.status_code, unloaded.json()) == (200, {})
    for name in ("other", "other.encoder"):
        assert operator.get(f"/v2/models/{name}/ready").status_code == 404
    assert states(operator)["other"] in {"UNLOADING", "UNAVAILABLE"}
    loaded = operator.post("/v2/repository/models/other/load")
    assert (loaded.status_code, loaded.json()) == (200, {})
    for name in ("other", "other.encoder"):
        assert operator.get(f"/v2/models/{name}/ready").status_code == 200


def test_a_package_that_cannot_be_loaded_says_why(operator: httpx.Client) -> None:
    answer = operator.post("/v2/repository/models/broken/load")
    assert answer.status_code == 400
    assert "generator.onnx" in answer.json()["error"]


@pytest.mark.parametrize("what", ["load", "unload"])
@pytest.mark.parametrize("name", ["nobody", "toy.discriminator", "..", "toy."])
def test_what_is_no_package_is_not_found(operator: httpx.Client, what: str, name: str) -> None:
    answer = operator.post(f"/v2/repository/models/{name}/{what}")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("models/toy/load", {"parameters": {"config": "{}"}}),
        ("models/toy/load", {"parameters": {"file:1/generator.onnx": "AA=="}}),
        ("models/toy/unload", {"parameters": {"unload_dependents": "yes"}}),
        ("models/toy/unload", {"unload_dependents": True}),
        ("index", {"ready": 1}),
        ("index", []),
    ],
)
def test_a_request_that_brings_more_along_is_refused(operator: httpx.Client, path: str, body: object) -> None:
    answer = operator.post(f"/v2/repository/{path}", json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert operator.get("/v2/models/toy/ready").status_code == 200


def test_a_web_page_may_not_do_any_of_it(operator: httpx.Client) -> None:
    for path in ("index", "models/toy/load", "models/toy/unload"):
        answer = operator.post(f"/v2/repository/{path}", headers={"origin": "https://example.org"})
        assert answer.status_code == 403
        assert list(answer.json()) == ["error"]
