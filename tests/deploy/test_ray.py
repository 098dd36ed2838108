"""Under Ray Serve two replicas answer as one process does, while Ray replaces them and when one is killed."""

import copy
import itertools
import json
import os
import re
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import pytest
import yaml
from pydantic import ValidationError

from service.settings import PREFIX, Settings
from tests.support.ray_cluster import CONFIG, RayCluster, configured, needs_ray, ready, until
from tests.support.serving import TIMEOUT_S, ServiceProcess, free_port
from tests.support.toy import write_toy_package

pytestmark = [needs_ray, pytest.mark.slow]

JSON: Final = "application/json"
STREAM: Final = {"model": "toy", "seed": 1, "n": 20_000}
TENSOR: Final = {"name": "latent", "datatype": "FP32", "shape": [1, 16], "data": [0.5] * 16}
INFER: Final = {"id": "a", "inputs": [TENSOR], "outputs": [{"name": "sample", "parameters": {"binary_data": True}}]}
HEADER: Final = "serve_multiplexed_model_id"
LARGE: Final = ("first", "second", "third")
ONE_FITS: Final = "52MiB"  # beside the default, one package of a graph of 9 MiB, which takes 33 MB, and not two
LOADERS: Final = 4
SEEDS: Final = 16
ASKED: Final = 8
TRIES: Final = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "models"
    write_toy_package(folder, "toy", 1, encoder=True)
    for seed, name in enumerate(LARGE):
        write_toy_package(folder, name, discriminator=False, latent_size=256, height=48, width=48, seed=seed)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Iterator[httpx.Client]:
    with ServiceProcess(folder) as process, process.loaded().client() as client:
        yield client


@dataclass(frozen=True)
class Served:
    """What Ray serves."""

    cluster: RayCluster
    config: dict[str, Any]
    url: str
    metrics_port: int

    def metrics(self) -> list[str]:
        """Of each replica, from a port of its own; none of one that does not listen yet."""
        found = []
        for port in (self.metrics_port, self.metrics_port + 1):
            with suppress(httpx.TransportError):
                found.append(httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text)
        return found

    def loads(self) -> float:
        """How often packages were loaded."""
        counted = re.compile(r'^ganymede_package_loads_total{result="ready"} (\S+)$', re.MULTILINE)
        return sum(float(count) for text in self.metrics() for count in counted.findall(text))

    def ready(self) -> bool:
        """Whether both replicas are."""
        return ["ganymede_ready 1.0" in text for text in self.metrics()] == [True, True]


@pytest.fixture(scope="module")
def served(folder: Path, alone: httpx.Client) -> Iterator[Served]:
    port, metrics_port = free_port(), free_port()
    config = configured(
        port, metrics_port, models_dir=folder, default_model="toy", model_threads=1, memory_budget=ONE_FITS,
        cache_dir=folder.parent / "cache", drift_share=0,
    )  # fmt: skip
    config["applications"][0]["args"]["models_a_replica"] = 1
    with RayCluster() as cluster:
        cluster.serve(config)
        url = f"http://127.0.0.1:{port}"
        both = Served(cluster, config, url, metrics_port)
        until(both.ready, cluster.logs)
        until(lambda: ready(url), cluster.logs)
        yield both


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=TIMEOUT_S, trust_env=False) as client:
        yield client


class Load:
    """Clients that ask for samples until the block ends, and compare every answer with its known bytes."""

    def __init__(self, url: str, known: Mapping[bytes, bytes]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.asked = 0
        self._url, self._known = url, known
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(LOADERS)]

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

    def _ask(self, number: int) -> None:
        bodies = itertools.cycle(list(self._known.items())[:: 1 if number % 2 else -1])
        with httpx.Client(base_url=self._url, timeout=TIMEOUT_S, trust_env=False) as client:
            while not self._ends.is_set():
                body, known = next(bodies)
                with self._lock:
                    self.asked += 1
                try:
                    answer = client.post("/generate?format=npy", content=body, headers={"content-type": JSON})
                    right = "right" if answer.content == known else "wrong"
                    outcome = right if answer.is_success else str(answer.status_code)
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                with self._lock:
                    self.outcomes[outcome] += 1


@pytest.fixture(scope="module")
def known(alone: httpx.Client) -> Mapping[bytes, bytes]:
    """Bodies of requests, small ones and a stream, with their answers."""
    asked = [{"seed": seed, "n": 1 + seed % 3} for seed in range(SEEDS)] + [STREAM]
    bodies = [json.dumps(each).encode() for each in asked]
    post = partial(alone.post, "/generate?format=npy", headers={"content-type": JSON})
    return {body: post(content=body).raise_for_status().content for body in bodies}


def test_ray_takes_the_configuration_and_each_of_its_variables_is_a_setting() -> None:
    with warnings.catch_warnings(action="ignore"):  # of what Ray still uses of pydantic
        from ray.serve.config import AutoscalingConfig  # noqa: PLC0415
        from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415  (takes a second, and need not be there)

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    # It drops keys that it does not know.
    read = ServeDeploySchema.model_validate(config).model_dump(mode="json", exclude_unset=True)
    assert read == config
    (deployment,) = config["applications"][0]["deployments"]
    assert (
        AutoscalingConfig(**deployment["autoscaling_config"]).model_dump(exclude_unset=True)
        == deployment["autoscaling_config"]
    )
    variables = deployment["ray_actor_options"]["runtime_env"]["env_vars"]
    assert {name.removeprefix(PREFIX).lower() for name in variables} <= Settings.model_fields.keys()
    assert variables["GANYMEDE_HOST"] == config["http_options"]["host"]
    deployment["max_surge_percent"] = 101
    with pytest.raises(ValidationError):
        ServeDeploySchema.model_validate(config)


@pytest.mark.parametrize(
    ("variables", "said"),
    [({}, "set GANYMEDE_HOST to its http_options.host"), ({"GANYMEDE_HOST": "0.0.0.0"}, "there are no keys")],  # noqa: S104
)
def test_a_replica_asks_for_the_address_of_the_proxy_and_who_may_use_it(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], said: str
) -> None:
    with warnings.catch_warnings(action="ignore"):
        from deploy.ray.replica import replica_settings  # noqa: PLC0415
    monkeypatch.delenv("GANYMEDE_HOST", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        replica_settings()


def test_two_replicas_answer_the_bytes_of_a_single_process(client: httpx.Client, alone: httpx.Client) -> None:
    pixels = alone.post("/generate?format=npy", json={"seed": 3, "n": 2}).content
    npy = {"content": pixels, "headers": {"content-type": "application/x-npy"}}
    for method, path, options in (
        ("POST", "/generate", {"json": {"seed": 7, "n": 3, "scores": True}}),
        ("POST", "/generate?format=npy", {"json": {"seed": 7, "n": 3}}),
        ("POST", "/generate?format=png", {"json": {"seed": 7}}),
        ("POST", "/generate?format=zip", {"json": {"seed": 7, "n": 3}}),
        ("POST", "/generate?format=npy", {"json": STREAM}),
        ("GET", "/models/toy/1/samples/7.png", {}),
        ("POST", "/score", npy),
        ("POST", "/encode", npy),
        ("POST", "/reconstruct?format=npy", npy),
        ("POST", "/v2/models/toy/infer", {"json": INFER}),
        ("POST", "/generate", {"json": {"n": -1}}),
        ("GET", "/nothing", {}),
    ):
        one = alone.request(method, path, follow_redirects=True, **options)
        for _ in range(4):
            other = client.request(method, path, follow_redirects=True, **options)
            assert (other.status_code, without_id(other)) == (one.status_code, without_id(one)), path
            assert headers_of(other) == headers_of(one), path


def test_an_answer_has_the_one_id_that_its_caller_sent(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"n": 0}, headers={"x-request-id": "mine"})
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert answer.json()["request_id"] == "mine"


def test_each_replica_has_metrics_and_the_proxy_hides_them(served: Served, client: httpx.Client) -> None:
    assert served.ready()
    assert client.get("/metrics").status_code == httpx.codes.NOT_FOUND


def test_a_request_that_names_its_model_to_ray_waits_for_it_and_goes_where_it_is(
    served: Served, client: httpx.Client, alone: httpx.Client
) -> None:
    def ask(model: str) -> None:
        asked = {"model": model, "seed": 5, "n": 2}
        answer = client.post("/generate?format=npy", json=asked, headers={HEADER: model})
        assert answer.content == alone.post("/generate?format=npy", json=asked).content, answer.text[:300]

    def loads_for(models: Sequence[str]) -> float:
        before = served.loads()
        for model in models:
            ask(model)
        return served.loads() - before

    assert loads_for(LARGE) > 0
    # Once the router was told, each of two models has a replica.
    assert any(loads_for(LARGE[:2] * ASKED) == 0 for _ in range(TRIES))
    assert client.post("/generate", json={"model": "none"}, headers={HEADER: "none"}).status_code == 404


def test_a_killed_replica_costs_the_requests_it_had_and_no_answer_is_wrong(
    served: Served, known: Mapping[bytes, bytes]
) -> None:
    before = served.cluster.replicas()
    with Load(served.url, known) as load:
        until(lambda: load.outcomes["right"] > SEEDS)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: not served.ready())
        until(served.ready, served.cluster.logs)
    assert load.outcomes.total() == load.asked
    assert load.outcomes["wrong"] == 0
    # Those that it was answering: at most one of each client, refused or cut off.
    assert load.asked - load.outcomes["right"] <= LOADERS


def test_replicas_are_replaced_without_a_failed_request(served: Served, known: Mapping[bytes, bytes]) -> None:
    before = served.cluster.replicas()
    changed = copy.deepcopy(served.config)
    (deployment,) = changed["applications"][0]["deployments"]
    deployment["ray_actor_options"]["runtime_env"]["env_vars"]["GANYMEDE_TIMEOUT_MS"] = "20000"
    with Load(served.url, known) as load:
        served.cluster.serve(changed)
        until(lambda: len(now := served.cluster.replicas()) == 2 and not set(now) & set(before), served.cluster.logs)
    assert load.outcomes == {"right": load.asked}


def without_id(answer: httpx.Response) -> bytes:
    return re.sub(rb'"request_id":"[^"]*"', b"", answer.content)


def headers_of(answer: httpx.Response) -> dict[str, str]:
    ignored = {"date", "server", "x-request-id", "content-length", "transfer-encoding"}
    return {name: value for name, value in answer.headers.items() if name not in ignored}
