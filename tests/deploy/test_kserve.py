"""KServe's objects are of its types; what the runtime starts serves one package under the InferenceService's name."""

import ast
import itertools
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

import service
from tests.support.chart import ROOT, Manifest
from tests.support.pods import PATIENCE_S, Pod
from tests.support.serving import free_port, metric
from tests.support.toy import write_toy_package

FOLDER = ROOT / "deploy/kserve"
# Of the package at the root: it begins as the first, and becomes each of the others in turn.
VERSIONS = (3, 4, 5, 6)
SLOWLY_S = 0.2  # a few looks of the service
CLIENTS = os.environ.get("PROTOCOL_CLIENTS", "")


def read(name: str) -> Manifest:
    found: Manifest = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


RUNTIME, SERVICE = read("runtime"), read("inferenceservice")
NAME = SERVICE["metadata"]["name"]


def unknown_keys(kind: str, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401  (any JSON)
    """Keys that a generated type of KServe's client does not have; Kubernetes' own types are left out."""
    if (inner := re.fullmatch(r"list\[(.+)\]", kind)) is not None:
        for each in value:
            yield from unknown_keys(inner[1], each, path)
    elif (module := Path(CLIENTS, "kserve/models", f"{snake(kind)}.py")).exists():
        found = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in {"openapi_types", "attribute_map"}
        }  # fmt: skip
        kinds = {key: found["openapi_types"][name] for name, key in found["attribute_map"].items()}
        for key, inside in value.items():
            if key in kinds:
                yield from unknown_keys(kinds[key], inside, f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def snake(kind: str) -> str:
    """`V1beta1ModelSpec` → `v1beta1_model_spec`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()


@pytest.mark.skipif(not CLIENTS, reason="PROTOCOL_CLIENTS names no folder with KServe's client")
def test_kserve_knows_every_key() -> None:
    for kind, found in (("V1alpha1ClusterServingRuntime", RUNTIME), ("V1beta1InferenceService", SERVICE)):
        assert list(unknown_keys(kind, found, kind)) == []
    broken = SERVICE | {"spec": {"predictor": {"model": {"storageURI": "pvc://a/b"}}}}
    assert list(unknown_keys("V1beta1InferenceService", broken, "it")) == ["it.spec.predictor.model.storageURI"]


def test_kubernetes_would_accept_the_pod_that_kserve_makes_of_them() -> None:
    kubernetes_validate.validate(pod_of("kserve"), "1.37", strict=True)
    assert RUNTIME["spec"]["containers"][0]["image"].endswith(f":{service.__version__}")


def pod_of(name: str, **environment: str) -> Manifest:
    """What KServe makes of both: the container, a package at /mnt/models, the name of the service."""
    (container,) = RUNTIME["spec"]["containers"]
    model = SERVICE["spec"]["predictor"]["model"]
    env = {each["name"]: each["value"].replace("{{.Name}}", NAME) for each in container["env"]} | environment
    made = container | {
        "lifecycle": model["lifecycle"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [*container["volumeMounts"], {"name": "models", "mountPath": "/mnt/models", "readOnly": True}],
        "ports": [{"containerPort": int(env["GANYMEDE_PORT"])}],
    }
    predictor = SERVICE["spec"]["predictor"]
    volumes = [*RUNTIME["spec"]["volumes"], {"name": "models", "emptyDir": {}}]
    spec = {"terminationGracePeriodSeconds": predictor["terminationGracePeriodSeconds"]}
    spec |= {"containers": [made], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "several processes"])
def pod(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod of the runtime, with one package that is not called as the service is."""
    folder = tmp_path_factory.mktemp("kserve")
    for version in VERSIONS:
        write_toy_package(folder / "published", "toy", version, seed=version)
    (folder / "models").symlink_to(folder / "published/toy/3")
    (folder / "tmp").mkdir()
    port = str(free_port())
    spec = pod_of(
        "kserve", GANYMEDE_HOST="127.0.0.1", GANYMEDE_PORT=port, GANYMEDE_API_WORKERS=request.param,
        GANYMEDE_MODEL_THREADS="1", GANYMEDE_MAX_BATCH_SAMPLES="4",
        GANYMEDE_RESCAN_INTERVAL_S="0.1",
    )["spec"]  # fmt: skip
    with Pod(spec, {"models": folder / "models", "tmp": folder / "tmp"}) as made:
        made.start()
        yield made


def test_one_package_at_the_root_answers_to_the_name_of_the_service_and_to_its_own(pod: Pod) -> None:
    latent = {"name": "z", "datatype": "FP32", "shape": [2, 4], "data": [0.5] * 8}
    with httpx.Client(base_url=pod.url, timeout=PATIENCE_S, trust_env=False) as client:
        described = client.get(f"/v2/models/{NAME}").json()
        (tensor,) = described["inputs"]
        shape = [2, *tensor["shape"][1:]]
        latent |= {"name": tensor["name"], "shape": shape, "data": [0.5] * (2 * shape[1])}
        answers = [client.post(f"/v2/models/{name}/infer", json={"inputs": [latent]}) for name in (NAME, "toy")]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].content == answers[1].content
        assert client.get(f"/v2/models/{NAME}/ready").status_code == 200
        assert client.get(f"/v2/models/{NAME}/versions/3/ready").status_code == 200
        assert client.get(f"/v2/models/{NAME}.discriminator").json()["name"] == "toy.discriminator"
        assert client.get("/v2/models/others/ready").status_code == 404
        png = {"Accept": "image/png"}
        drawn = [client.post("/generate", json={"seed": 7} | each, headers=png) for each in ({}, {"model": NAME})]
        assert drawn[0].content == drawn[1].content
        assert client.get(f"/models/{NAME}").json()["name"] == "toy"
        assert client.get(f"/models/{NAME}/versions/3").json()["name"] == "toy"
        # Lists, answers and metrics have its own name.
        assert described["name"] == answers[0].json()["model_name"] == "toy"
        assert [each["name"] for each in client.get("/models").json()["models"]] == ["toy"]
        assert not [each for each in client.post("/v2/repository/index").json() if NAME in each["name"]]
        assert metric(client, "ganymede_samples_total", model="toy") > 0
        assert NAME not in client.get("/metrics").text


def test_the_package_at_the_root_may_be_replaced_in_any_way_while_it_is_asked(pod: Pod) -> None:
    folder = pod.volumes["models"].parent
    answers: Counter[tuple[int, str | None, bytes]] = Counter()
    ends = threading.Event()
    (workers,) = (each["value"] for each in pod.container["env"] if each["name"] == "GANYMEDE_API_WORKERS")
    ways = (link, write_over, take_away_and_bring) if workers == "0" else (link,)  # the engine process does the same

    def ask() -> None:
        body: dict[str, object]
        with httpx.Client(base_url=pod.url, timeout=PATIENCE_S, trust_env=False) as client:
            for body in itertools.cycle(({"seed": 7}, {"seed": 7, "model": NAME}, {"seed": 7, "model": "toy"})):
                if ends.is_set():
                    return
                answer = client.post("/generate?format=npy", json=body)
                answers[answer.status_code, answer.headers.get("x-model-version"), answer.content] += 1

    with (
        ThreadPoolExecutor(2) as callers,
        httpx.Client(base_url=pod.url, timeout=PATIENCE_S, trust_env=False) as client,
    ):
        asking = [callers.submit(ask) for _ in range(2)]
        try:
            for version, replace in zip(VERSIONS[1:], ways, strict=False):
                replace(folder, version)
                end = time.monotonic() + PATIENCE_S
                while client.post("/generate", json={"model": NAME, "seed": 7}).json().get("version") != str(version):
                    assert time.monotonic() < end
        finally:
            ends.set()
        for each in asking:
            each.result()
    assert {status for status, _, _ in answers} == {200}, answers.keys()
    # One answer a version: every one is that of a whole package.
    assert sorted(version or "" for _, version, _ in answers) == [str(version) for version in VERSIONS[: len(ways) + 1]]


def link(folder: Path, version: int) -> None:
    """Have the root be another folder from one moment to the next."""
    (folder / "next").symlink_to(folder / f"published/toy/{version}")
    (folder / "next").replace(folder / "models")


def write_over(folder: Path, version: int) -> None:
    """Replace one file after the other, slowly, the manifest last."""
    files = sorted((folder / f"published/toy/{version}").iterdir(), key=lambda file: file.name == "manifest.json")
    for file in files:
        shutil.copy(file, folder / "models" / f"{file.name}.new")
        (folder / "models" / f"{file.name}.new").replace(folder / "models" / file.name)
        time.sleep(SLOWLY_S)


def take_away_and_bring(folder: Path, version: int) -> None:
    """Have no root for a while, then another."""
    (folder / "models").rename(folder / "before")
    time.sleep(SLOWLY_S)
    (folder / f"published/toy/{version}").rename(folder / "models")
