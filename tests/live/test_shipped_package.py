"""The shipped packages, served together: all are ready, each does what its system is known for, digits are scored."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess

NAMES = sorted(package.name for package in (ROOT / "models").iterdir() if package.is_dir())
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    cache_dir = tmp_path_factory.mktemp("cache")
    with (
        ServiceProcess(ROOT / "models", default_model="mnist", cache_dir=str(cache_dir)) as process,
        process.loaded().client() as client,
    ):
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_package_is_ready_and_gives_the_same_bytes_in_every_batch(shipped: httpx.Client, name: str) -> None:
    (version,) = shipped.get(f"/models/{name}").json()["versions"]
    assert version["state"] == "ready", version
    details = shipped.get(f"/models/{name}/versions/{version['version']}").json()
    graphs = [key for key in details if key.endswith("_on_device")]
    assert len(graphs) == (3 if "encoder" in details else 2)
    for graph in graphs:
        assert details[graph]["reproducible"], graph
        assert max(details[graph]["buckets"]) > (1 if name != "planted-items" else 0), graph


def test_the_example_asks_each_system_for_its_own_feature(shipped: httpx.Client, tmp_path: Path) -> None:
    program, address = str(ROOT / "examples/family.py"), f"127.0.0.1:{shipped.base_url.port}"
    command = [sys.executable, program, address, "--images", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines()) == NAMES
    assert len(list(tmp_path.glob("bigan-mnist/*.png"))) == 20


def generated(client: httpx.Client, label: int) -> bytes:
    return client.post("/generate?format=png", json={"seed": 7, "label": label}).content


def test_a_picture_without_a_label_is_scored_and_named(shipped: httpx.Client) -> None:
    found = []
    for label in range(10):
        answer = shipped.post("/score", content=generated(shipped, label), headers=PNG)
        assert answer.status_code == 200, answer.text
        (score,) = answer.json()["scores"]
        assert score["label_name"] == str(score["label"])
        assert 0 < score["probability"] < 1
        found.append(score["label"])
    right = sum(label == named for label, named in enumerate(found))
    assert right >= 6  # 8.5 of 10 on average; by chance, one


def test_the_logit_without_a_label_is_that_under_the_label_that_was_named(shipped: httpx.Client) -> None:
    picture = generated(shipped, 3)
    (unnamed,) = shipped.post("/score", content=picture, headers=PNG).json()["scores"]
    (named,) = shipped.post(f"/score?label={unnamed['label']}", content=picture, headers=PNG).json()["scores"]
    assert unnamed["logit"] == named["logit"]
    assert unnamed["probability"] != named["probability"]  # the two calibrations differ


def test_what_the_documentation_asks_of_a_sample_url_is_there(shipped: httpx.Client) -> None:
    (example,) = (
        line.split("localhost:8000")[1].rstrip("'")
        for line in Path(ROOT / "docs/http-api.md").read_text().splitlines()
        if line.startswith("curl -L -o seven.png")
    )
    assert shipped.get(example, follow_redirects=True).status_code == 200
