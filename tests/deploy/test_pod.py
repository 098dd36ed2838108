"""What the chart's Deployment states, run as a process: environment, command, probes, and the end with its grace."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry
from tests.support.chart import Manifest, needs_helm, only, profile, rendered
from tests.support.pods import PATIENCE_S, Pod
from tests.support.proxies import ENVOY, RunningProxy
from tests.support.serving import free_port
from tests.support.toy import write_toy_package

PRE_STOP_S = 2
# Until every proxy knows that a pod goes; less than it waits.
PROPAGATION_S = 0.5
LOADERS = 3
ENDING = ("cpu", "several-processes")
REQUEST = {"n": 4, "seed": 7}
# 16 MB as pixels: more than all buffers between server and client, so that the answer waits for its reader.
LARGE_DRAWING = {"model": "large", "seed": 0, "n": 1000}
LARGE_BYTES = 128 + 1000 * 72 * 72 * 3

pytestmark = needs_helm


class Load:
    """Clients that ask the pods of a Service in turn, each request over a connection of its own."""

    def __init__(self, endpoints: list[str], key: str) -> None:
        self.endpoints = endpoints
        self.answers: list[int | str] = []
        self._headers = {"X-API-Key": key}
        self._turns = itertools.count()
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(LOADERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        unkept = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(headers=self._headers, timeout=PATIENCE_S, limits=unkept, trust_env=False) as client:
            while not self._ends.is_set():
                endpoints = self.endpoints
                url = endpoints[next(self._turns) % len(endpoints)]
                try:
                    self.answers.append(client.post(f"{url}/generate", json=REQUEST).status_code)
                except httpx.HTTPError as error:
                    self.answers.append(repr(error))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages, and a Secret with a key as a kubelet mounts it: links to a folder that is swapped when it changes."""
    folder = tmp_path_factory.mktemp("volumes")
    write_toy_package(folder / "models", "toy")
    write_toy_package(folder / "models", "large", channels=3, height=72, width=72, discriminator=False)
    content = folder / "keys/..2026_11_28"
    content.mkdir(parents=True)
    key, _ = make_key("tests", Entry(sha256="0" * 64), content / "keys.toml")
    (folder / "keys/..data").symlink_to(content.name)
    (folder / "keys/keys.toml").symlink_to("..data/keys.toml")
    (folder / "key").write_text(key, encoding="utf-8")
    (folder / "tmp").mkdir()
    return {"models": folder / "models", "keys": folder / "keys", "tmp": folder / "tmp", "key": folder / "key"}


def deployment(name: str, port: int, **settings: object) -> Manifest:
    """The pod of a profile's Deployment for this machine: a port that is free, toys, and one thread."""
    chosen = {
        "GANYMEDE_HOST": "127.0.0.1", "GANYMEDE_PORT": port, "GANYMEDE_DEFAULT_MODEL": "toy",
        "GANYMEDE_LOAD_MODELS": "large", "GANYMEDE_MODEL_THREADS": 1, "GANYMEDE_MAX_BATCH_SAMPLES": 16,
    } | settings  # fmt: skip
    given = json.dumps(chosen)
    values = f"models.claim=models,stop.preStopSeconds={PRE_STOP_S}"
    made = only(rendered(*profile(name), "--set", values, "--set-json", f"settings={given}"), "Deployment")
    spec: Manifest = made["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def pods(volumes: dict[str, Path]) -> Iterator[dict[str, Pod]]:
    """Replicas that are ready, by name."""
    chosen: dict[str, tuple[str, dict[str, int]]] = {
        "stays": ("cpu", {}),
        "cpu": ("cpu", {}),
        "several-processes": ("several-processes", {"GANYMEDE_API_WORKERS": 2}),
    }
    with ExitStack() as stack:
        made = {}
        for name, (of, settings) in chosen.items():
            made[name] = stack.enter_context(Pod(deployment(of, free_port(), **settings), volumes))
        for pod in made.values():
            pod.start()
        yield made


@pytest.fixture(scope="module")
def entrances(pods: dict[str, Pod], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Where Envoy answers for one replica that stays and each that ends, where there is Envoy."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                RunningProxy("envoy", [pods[name].port, pods["stays"].port], tmp_path_factory.mktemp("envoy") / name)
            ).here
            for name in ENDING
            if ENVOY
        ]


@pytest.mark.parametrize(("key", "says"), [("right", "A sample of"), ("", "asks for a key"), ("wrong", "")])
def test_helms_test_draws_a_sample_where_it_has_a_key(
    key: str, says: str, pods: dict[str, Pod], volumes: dict[str, Path]
) -> None:
    (container,) = only(rendered(*profile("cpu")), "Pod")["spec"]["containers"]
    given = {each["name"]: each["value"] for each in container["env"]} | {"SERVICE_URL": pods["stays"].url}
    if key:
        given["SERVICE_KEY"] = volumes["key"].read_text(encoding="utf-8") if key == "right" else key
    program, *arguments = container["command"]
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments], env=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode == 0) == bool(says), done.stderr
    assert says in done.stdout
    assert key != "wrong" or "401" in done.stderr


def test_replicas_probe_well_and_end_within_their_grace_without_a_lost_request(
    pods: dict[str, Pod], volumes: dict[str, Path], entrances: list[str]
) -> None:
    ending, stays = [pods[name] for name in ENDING], pods["stays"]
    assert all(pod.probe("livenessProbe") for pod in ending)
    key = volumes["key"].read_text(encoding="utf-8")
    with (
        Load([*(pod.url for pod in pods.values()), *entrances], key) as load,
        httpx.Client(headers={"X-API-Key": key}, timeout=PATIENCE_S, trust_env=False) as client,
        ThreadPoolExecutor(len(ending)) as background,
        ExitStack() as stack,
    ):
        answers = [
            stack.enter_context(client.stream("POST", f"{pod.url}/generate?format=npy", json=LARGE_DRAWING))
            for pod in ending
        ]
        streams = [answer.iter_raw() for answer in answers]
        received = [len(next(pieces)) for pieces in streams]
        deleted = [background.submit(pod.delete) for pod in ending]
        time.sleep(PROPAGATION_S)
        load.endpoints = [stays.url, *entrances]  # Envoy is told nothing, and finds out
        answered = len(load.answers)
        for pod in ending:
            pod.until("readinessProbe", PRE_STOP_S + PATIENCE_S, passes=False)
        # Of a reader that is slow, while the processes drain.
        received = [begun + sum(map(len, pieces)) for begun, pieces in zip(received, streams, strict=True)]
        for pod, took in zip(ending, deleted, strict=True):
            assert PRE_STOP_S < took.result() < pod.grace_s
    assert received == [LARGE_BYTES] * len(ending)
    assert len(load.answers) > answered
    assert set(load.answers) == {200}
