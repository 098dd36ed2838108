"""What the chart renders, by Helm: valid for Kubernetes and the kinds of others, restricted, and as the service is."""

import json
import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import service
from service.settings import Settings
from tests.support.chart import (
    CHART,
    PROFILES,
    ROOT,
    SCHEMA,
    Manifest,
    accepted_by_kubernetes,
    helm,
    needs_helm,
    only,
    profile,
    rendered,
    written,
)
from tests.support.pages import fences

OPERATIONS = ROOT / "docs/operations.md"
OPEN = ("--set", "keys.without=anyone-may-use-it")
EVERYTHING = {
    "keys": {"secret": "keys"},
    "test": {"keySecret": {"name": "key", "key": "key"}},
    "image": {"digest": f"sha256:{64 * 'a'}", "pullSecrets": [{"name": "registry"}]},
    "models": {"init": {"image": "fetch", "command": ["fetch"], "env": [{"name": "A", "value": "b"}]}},
    "networkPolicy": {"egress": [{}], "from": [{"namespaceSelector": {}}], "metricsFrom": [{"podSelector": {}}]},
    "settings": {"GANYMEDE_METRICS_PORT": 9100, "GANYMEDE_METRICS": "key"},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}, "keySecret": {"name": "key", "key": "key"}},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "autoscaling": {"kind": "keda"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["gan.example"]},
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
}
OPTIONS = {
    **{name: profile(name) for name in PROFILES},
    "everything": ("--set-json", ",".join(f"{key}={json.dumps(value)}" for key, value in EVERYTHING.items())),
    "image": (*OPEN, "--set", "models.image.reference=registry.example/packages:1,models.subPath=mnist"),
}
OURS = ("apps", "autoscaling", "networking.k8s.io", "policy", "v1")
MODELS = os.environ.get("KUBERNETES_MODELS", "")

pytestmark = needs_helm
every_option = pytest.mark.parametrize("option", OPTIONS)


@cache
def objects(option: str) -> list[Manifest]:
    return rendered(*OPTIONS[option])


def pods(option: str) -> list[Manifest]:
    """The pod of the Deployment and that of `helm test`: their `spec`."""
    return [only(objects(option), "Deployment")["spec"]["template"]["spec"], only(objects(option), "Pod")["spec"]]


def refusal(*arguments: str) -> str:
    done = helm("template", "ganymede", CHART, *arguments)
    assert done.returncode != 0
    return done.stderr


@every_option
def test_kubernetes_would_accept_what_it_knows_itself(option: str) -> None:
    own = [each for each in objects(option) if each["apiVersion"].split("/")[0] in OURS]
    # An image as a volume came after the oldest version that the chart is for.
    for version in {"1.37", "1.37" if option == "image" else "1.30"}:
        for each in own:
            accepted_by_kubernetes(each, version)


def test_a_key_that_is_none_would_be_seen() -> None:
    broken = json.loads(json.dumps(only(objects("cpu"), "Deployment")))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        accepted_by_kubernetes(broken, "1.37")


@pytest.mark.skipif(
    not MODELS or shutil.which("node") is None, reason="KUBERNETES_MODELS names no published types, or there is no node"
)
def test_operators_and_gateways_would_accept_what_is_theirs() -> None:
    others = [
        each for option in OPTIONS for each in objects(option) if each["apiVersion"].split("/")[0] not in OURS
    ]  # fmt: skip
    assert {each["kind"] for each in others} == {"HTTPRoute", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
    assert faults(others) == ""
    scaled = json.loads(json.dumps(only(objects("gpu"), "ScaledObject")))
    scaled["spec"]["maxReplicas"] = 3
    assert "maxReplicas: there is no such key" in faults([scaled])


def faults(custom: list[Manifest]) -> str:
    script = Path(__file__).with_name("custom_resources.mjs")
    done = subprocess.run(
        ["node", script], input=json.dumps(custom), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@every_option
def test_every_pod_is_restricted_and_has_no_token(option: str) -> None:
    user = int(re.findall(r"useradd .*--uid (\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))[0])
    for pod in pods(option):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == user
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True
            }  # fmt: skip


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: it is in Debian's package prometheus"
)
def test_prometheus_accepts_the_rules_that_the_chart_renders(tmp_path: Path) -> None:
    rules = only(objects("cpu"), "PrometheusRule")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_are_those_of_docker_compose() -> None:
    rules = only(objects("cpu"), "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy/prometheus/rules/ganymede.yml").read_text(encoding="utf-8"))
    board = only(objects("cpu"), "ConfigMap")["data"]["ganymede.json"]
    assert json.loads(board) == json.loads((ROOT / "deploy/grafana/dashboards/ganymede.json").read_text("utf-8"))


def test_the_alerts_job_is_what_the_monitor_calls_it() -> None:
    label = only(objects("cpu"), "ServiceMonitor")["spec"]["jobLabel"]
    assert only(objects("cpu"), "Service")["metadata"]["labels"][label] == "ganymede"


def test_the_chart_is_of_this_version_and_runs_the_images_command() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == service.__version__
    command = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[-1]
    assert pods("cpu")[0]["containers"][0]["command"] == json.loads(command)


def test_the_schema_has_the_services_settings() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == written(), "run python -m tests.support.chart"


def test_every_value_is_in_the_schema_and_explained() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]
    assert set(yaml.safe_load(text)) == set(schema) - {"global"}  # Helm's own
    for paragraph in text.split("\n\n"):
        assert re.search(r"^\s*#", paragraph, re.MULTILINE), paragraph


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "set keys.secret to a Secret"),
        (("--set", "keys.without=anyone-may-use-it,keys.secret=keys"), "one of the two"),
        (("--set", "keys.without=yes-please"), "/keys/without"),
        ((*OPEN, "--set", "replica=3"), "additional properties 'replica' not allowed"),
        ((*OPEN, "--set", "settings.GANYMEDE_PROT=1"), "additional properties 'GANYMEDE_PROT' not allowed"),
        ((*OPEN, "--set", "settings.GANYMEDE_MODELS_DIR=/x"), "additional properties 'GANYMEDE_MODELS_DIR'"),
        ((*OPEN, "--set", "settings.GANYMEDE_DEVICE=tpu"), "/settings/GANYMEDE_DEVICE"),
        ((*OPEN, "--set", "settings.GANYMEDE_API_WORKERS=257"), "maximum: got 257, want 256"),
        ((*OPEN, "--set", "env[0].name=GANYMEDE_PORT"), "/env/0/name"),
        ((*OPEN, "--set", "autoscaling.kind=both"), "/autoscaling/kind"),
        ((*OPEN, "--set", "autoscaling.minReplicas=0"), "minimum: got 0, want 1"),
        ((*OPEN, "--set", "httpRoute.enabled=true"), "/httpRoute/parentRefs"),
        ((*OPEN, "--set", "models.claim=a,models.image.reference=b"), "models come from one place"),
        ((*OPEN, "--set", "models.init.image=fetch"), "networkPolicy.egress"),
        ((*OPEN, "--set", "models.url=s3://bucket"), "networkPolicy.egress"),
        ((*OPEN, "--set", "models.url=bucket"), "/models/url"),
        ((*OPEN, "--set", "metrics.serviceMonitor.enabled=true,settings.GANYMEDE_METRICS=off"), "turns off"),
    ],
    ids=lambda given: given[-1] if isinstance(given, tuple) and given else "",
)  # fmt: skip
def test_what_is_no_value_is_refused_in_a_sentence(given: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(*given)


def test_settings_arrive_at_the_service_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = """
      GANYMEDE_DOCS: off
      GANYMEDE_PLAYGROUND: "on"
      GANYMEDE_METRICS: key
      GANYMEDE_DEVICE_BINDING: on
      GANYMEDE_MAX_BODY_BYTES: 16777216
      GANYMEDE_VETTING_MEMORY_BYTES: 4294967296
      GANYMEDE_MEMORY_BUDGET: 2GiB
      GANYMEDE_DRIFT_SHARE: 1.0e-7
      GANYMEDE_QUEUE_WAIT_S: 2
      GANYMEDE_CORS_ORIGINS: "https://a.example,https://b.example"
      GANYMEDE_LOAD_MODELS: "a,b"
    """
    given = json.dumps(yaml.safe_load(settings))
    deployment = only(rendered("--set", "keys.secret=keys", "--set-json", f"settings={given}"), "Deployment")
    for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(each["name"], each["value"])
    read = Settings()
    assert (read.docs, read.playground, read.metrics, read.device_binding) == ("off", "on", "key", "on")
    assert (read.max_body_bytes, read.vetting_memory_bytes, read.memory_budget) == (2**24, 2**32, 2**31)
    assert (read.drift_share, read.queue_wait_s) == (1e-7, 2)
    assert (read.cors_origins, read.load_models) == ("https://a.example,https://b.example", "a,b")
    assert (read.keys_file, str(read.models_dir)) == ("/app/keys/keys.toml", "/app/models")


@pytest.mark.parametrize(("given", "grace"), [("{}", 45), ('{"GANYMEDE_DRAIN_TIMEOUT_S": 12.5}', 28)])
def test_a_pod_is_killed_only_after_its_wait_its_drain_and_its_processes_end(given: str, grace: int) -> None:
    spec: dict[str, Any] = only(rendered(*OPEN, "--set-json", f"settings={given}"), "Deployment")["spec"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == grace


def test_where_the_service_has_a_prefix_so_have_its_routes() -> None:
    given = "ingress.enabled=true,httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway"
    plain = rendered(*OPEN, "--set", given)
    below = rendered(*OPEN, "--set", f"{given},settings.GANYMEDE_ROOT_PATH=/gan")
    for found, path in ((plain, "/"), (below, "/gan")):
        (rule,) = only(found, "Ingress")["spec"]["rules"]
        assert [each["path"] for each in rule["http"]["paths"]] == [path]
        (rule,) = only(found, "HTTPRoute")["spec"]["rules"]
        assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": path}}]


@pytest.mark.parametrize("kind", ["none", "hpa", "keda"])
def test_one_thing_at_most_says_how_many_replicas_there_are(kind: str) -> None:
    found = rendered(*OPEN, "--set", f"autoscaling.kind={kind}")
    scalers = [each["kind"] for each in found if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    assert len(scalers) == (kind != "none")
    assert ("replicas" in only(found, "Deployment")["spec"]) == (kind == "none")


def test_two_releases_in_a_namespace_share_no_name_and_no_pod() -> None:
    first, second = (rendered(*OPEN, release=name) for name in ("ganymede", "faces"))
    assert not {each["metadata"]["name"] for each in first} & {each["metadata"]["name"] for each in second}
    assert only(first, "Service")["spec"]["selector"] != only(second, "Service")["spec"]["selector"]


def test_helms_own_review_finds_no_fault() -> None:
    done = helm("lint", "--strict", CHART, *profile("cpu"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_commands_install_it_and_say_how_to_draw_a_sample() -> None:
    lines = [line for block in fences(OPERATIONS, "sh") for line in block.splitlines()]
    installs = [line for line in lines if line.startswith("helm install")]
    assert installs
    for line in installs:
        done = helm(*shlex.split(line)[1:], "--dry-run=client")
        assert done.returncode == 0, done.stderr
        assert "service/ganymede" in done.stdout.partition("NOTES:")[2]
