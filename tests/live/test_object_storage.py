"""Packages from object storage, served: swapped under load, and while the store refuses, hangs or is not there."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.object_storage import BUCKET, SECRET, URL, ObjectStorage, credentials
from tests.support.proxy import Proxy, Refusal
from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess, metric
from tests.support.toy import write_toy_package

CALLERS, SEEDS, ENOUGH = 6, 16, 40
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages of which the tests upload some."""
    folder = tmp_path_factory.mktemp("local") / "models"
    for version in (1, 2, 3):
        write_toy_package(folder, "toy", version, seed=version, discriminator=False)
    write_toy_package(folder, "other", discriminator=False)
    return folder


@pytest.fixture(scope="module")
def expected(local: Path) -> Mapping[tuple[str, int], bytes]:
    """What a service of the local folder answers, by version and seed."""
    with ServiceProcess(local).loaded() as process, process.client() as client:
        return {
            (str(version), seed): client.post(
                "/generate?format=npy", json={"model": "toy", "version": version, "seed": seed}
            ).content
            for version, seed in itertools.product((1, 2), range(SEEDS))
        }


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStorage]:
    with ObjectStorage() as running:
        yield running


@pytest.fixture
def proxy(server: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What the service takes for the store, which is empty at the beginning."""
    server.empty()
    with Proxy(server.port) as between:
        for name, value in credentials(int(between.origin.rpartition(":")[2])).items():
            monkeypatch.setenv(name, value)
        yield between


class Callers:
    """Ask for samples without a pause, each on a connection of its own; leaving the block ends them."""

    def __init__(self, process: ServiceProcess) -> None:
        self.answers: list[tuple[int, str, int, bytes]] = []
        self._came = threading.Condition()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(process,)) for _ in range(CALLERS)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, version: str) -> None:
        """Wait until so many more answers are of a version."""
        with self._came:
            before = len(self.answers)
            more = self._came.wait_for(
                lambda: sum(each[1] == version for each in self.answers[before:]) >= ENOUGH, TIMEOUT_S
            )
        assert more, self.answers[-1][:3]

    def _ask(self, process: ServiceProcess) -> None:
        with process.client() as client:
            for seed in itertools.cycle(range(SEEDS)):
                if self._enough.is_set():
                    return
                answer = client.post("/generate?format=npy", json={"seed": seed})
                with self._came:
                    version = answer.headers.get("x-model-version", answer.text[:200])
                    self.answers.append((answer.status_code, version, seed, answer.content))
                    self._came.notify_all()


@pytest.mark.parametrize("api_workers", [0, 2])
def test_a_version_comes_and_another_goes_under_load_without_a_failed_request_or_a_wrong_byte(
    server: ObjectStorage,
    proxy: Proxy,
    local: Path,
    expected: Mapping[tuple[str, int], bytes],
    tmp_path: Path,
    api_workers: int,
) -> None:
    server.publish(local / "toy/1")
    with ExitStack() as stack:
        process = stack.enter_context(
            ServiceProcess(URL, cache_dir=tmp_path, rescan_interval_s=0.1, api_workers=api_workers).loaded()
        )
        callers = stack.enter_context(Callers(process))
        callers.wait_for_more("1")
        server.publish(local / "toy/2")
        callers.wait_for_more("2")
        for file in sorted((local / "toy/1").iterdir(), reverse=True):  # the manifest before the graph
            server.delete(f"toy/1/{file.name}")
        process.wait_for("package unloaded", package="toy/1")
        callers.wait_for_more("2")
    answers = callers.answers
    assert {status for status, *_ in answers} == {200}
    assert {version for _, version, _, _ in answers} == {"1", "2"}
    assert [each[:3] for each in answers if each[3] != expected[each[1], each[2]]] == []


def test_a_store_that_refuses_at_the_start_or_hangs_later_keeps_no_request_from_its_answer(
    server: ObjectStorage, proxy: Proxy, local: Path, tmp_path: Path
) -> None:
    for package in ("toy/1", "other/1"):
        server.publish(local / package)
    with ServiceProcess(URL, cache_dir=tmp_path, load_models="toy").loaded():
        pass
    proxy.refusals[f"/{BUCKET}"] = [Refusal(403, {}, DENIED)] * 3
    second = ServiceProcess(URL, cache_dir=tmp_path, load_models="toy", rescan_interval_s=0.1)
    with second.loaded() as process, process.client() as client:
        told = process.lines(event="object storage cannot be read; packages stay as they are")
        assert "the store refuses the service's credentials (Access Denied); give it those of" in str(told[0]["reason"])
        assert client.get("/readyz").status_code == 200
        process.wait_for("object storage answers again")
        assert len(process.lines(event="object storage cannot be read; packages stay as they are")) == 1
        assert metric(client, "ganymede_storage_errors_total") == 3
        assert metric(client, "ganymede_storage_unread_seconds") == 0
        asked = {"model": "other"}
        assert client.post("/generate", json=asked).status_code == 404
        assert client.post("/v2/repository/models/other/load").status_code == 200
        assert client.post("/generate", json=asked).status_code == 200
        server.publish(local / "toy/2")
        process.wait_for("package ready", package="toy/2")
        proxy.refusals["/models/served/toy/3/generator.onnx"] = [Refusal("stalled")]
        server.publish(local / "toy/3")
        assert proxy.stalled.wait(TIMEOUT_S)
        assert client.post("/generate?format=npy").headers["x-model-version"] == "2"
        assert client.get("/readyz").status_code == 200
        process.terminate()
        assert process.wait() == 0
    assert SECRET not in str(process.log)


def test_without_packages_in_the_cache_a_store_that_refuses_ends_the_service_with_a_sentence(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.refusals[f"/{BUCKET}"] = [Refusal(403, {}, DENIED)]
    with ServiceProcess(URL, cache_dir=tmp_path) as process:
        assert process.wait() == 1
    (line,) = process.lines(event="cannot start")
    assert str(line["reason"]).startswith(f"{URL}: the store refuses the service's credentials (Access Denied); ")
    assert SECRET not in str(process.log)


def test_what_must_be_installed_for_a_url_is_said_at_the_start() -> None:
    environment = os.environ | {"GANYMEDE_MODELS_DIR": "adl://me:secret@store/models"}
    done = subprocess.run(
        [sys.executable, "-m", "service"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "GANYMEDE_MODELS_DIR='adl://store/models': this needs adlfs; pip install adlfs.\n",
    )
