"""Every query of the dashboard, and every rule, asked of a real Prometheus that scrapes a real service under load."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.pages import fences
from tests.support.serving import ServiceProcess, free_port
from tests.support.toy import write_toy_package

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/dashboards/ganymede.json"
SCHEMA_CHECK = Path(__file__).with_name("dashboard_schema.mjs")
MODULES = os.environ.get("GRAFANA_SCHEMA", "")
SCRAPE = "200ms"
PATIENCE_S = 45.0
POLL_S = 0.2
# The toys' classes: few, so that a window of samples scored under each is full in seconds.
CLASSES = 2

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: it is Debian's package of that name"
)


def targets() -> list[tuple[str, str]]:
    """The title of each panel, and a query of it."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]


def eventually(holds: Callable[[], bool]) -> bool:
    """Poll until a condition holds, at most `PATIENCE_S`."""
    until = time.monotonic() + PATIENCE_S
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(POLL_S)  # Prometheus scrapes on its own clock
    return held


def configuration(service_port: int) -> str:
    """The shipped configuration, with this one target, and scraping often."""
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = shipped["scrape_configs"]
    target = {"job_name": job["job_name"], "static_configs": [{"targets": [f"127.0.0.1:{service_port}"]}]}
    rules = str(ROOT / "deploy/prometheus" / shipped["rule_files"][0])
    often = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
    written: str = yaml.safe_dump({"global": often, "rule_files": [rules], "scrape_configs": [target]})
    return written


class Prometheus:
    """A Prometheus that scrapes one service."""

    def __init__(self, folder: Path, service_port: int) -> None:
        port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(configuration(service_port), encoding="utf-8")
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10, trust_env=False)
        self._process = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ]
        )  # fmt: skip

    def close(self) -> None:
        self.api.close()
        self._process.kill()
        self._process.wait()

    def values(self, query: str) -> list[float]:
        """The result of an instant query, one number a series; an error of the query is one of the test."""
        answer = self.api.get("/query", params={"query": query})
        if answer.status_code == 503:  # it begins, and says so in plain text
            return []
        assert answer.status_code == 200, answer.text
        return [float(series["value"][1]) for series in answer.json().get("data", {}).get("result", [])]

    def rules(self) -> list[dict[str, Any]]:
        groups = self.api.get("/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def is_ready(self) -> bool:
        try:
            return self.values('up{job="ganymede"}') == [1.0]
        except httpx.TransportError:
            return False


def exercise(service: ServiceProcess, stop: threading.Event) -> None:
    """Send requests of every kind that has a panel, and many between idle moments, in which they are scored."""
    with service.client() as client:
        for seed in itertools.count(0, 64):
            if stop.wait(0.02):
                return
            model = "toy" if seed % 256 == 0 else "classes"
            client.post("/generate?format=npy", json={"model": model, "n": 64, "seed": seed}).raise_for_status()
            if seed % 640 == 0:
                exercise_once(client)


def exercise_once(client: httpx.Client) -> None:
    """Send one request of each kind to every graph: an idle one has series, too, and no quantile."""
    for form in ("json", "png", "zip"):
        client.post(f"/generate?format={form}", json={"n": 3, "scores": form == "json"}).raise_for_status()
    for model, given in (("toy", {}), ("classes", {"label": 1})):
        body = {"model": model, "seed": 7, **given}
        image = client.post("/generate?format=png", json=body).raise_for_status().content
        png = {"content-type": "image/png"}
        client.post("/score", params={"model": model, **given}, content=image, headers=png).raise_for_status()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    write_toy_package(folder / "models", "toy")
    write_toy_package(folder / "models", "classes", conditional=True, label_count=CLASSES, unknown_label=True)
    stop = threading.Event()
    with ServiceProcess(folder / "models", drift_share=0.5) as service:
        load = threading.Thread(target=exercise, args=(service.loaded(), stop))
        load.start()
        scraping = Prometheus(folder, service.port)
        try:
            assert eventually(scraping.is_ready)
            yield scraping
        finally:
            scraping.close()
            stop.set()
            load.join()


@needs_prometheus
@pytest.mark.parametrize(("title", "query"), targets(), ids=[f"{title}-{i}" for i, (title, _) in enumerate(targets())])
def test_a_query_of_the_dashboard_has_numbers(prometheus: Prometheus, title: str, query: str) -> None:
    def answered() -> bool:
        found = prometheus.values(query)
        return bool(found) and not any(math.isnan(value) for value in found)

    assert eventually(answered), f"{title}: no numbers from {query}"


@needs_prometheus
def test_prometheus_understands_the_queries_of_the_operations_page(prometheus: Prometheus) -> None:
    page = ROOT / "docs/operations.md"
    runbook = page.read_text(encoding="utf-8").partition("## Runbook")[2].partition("\n## ")[0]
    quoted = re.findall(r"`([^`]*(?:ganymede_|process_|up{)[^`]*)`", runbook)
    sizing = [line for fence in fences(page, "promql") for line in fence.splitlines()]
    assert len(quoted) > 20
    assert len(sizing) > 1
    for query in quoted:
        prometheus.values(query)
    for query in sizing:
        assert eventually(lambda query=query: len(prometheus.values(query)) == 1), query  # type: ignore[misc]


@needs_prometheus
def test_prometheus_evaluates_every_rule_and_none_but_of_toys_fires(prometheus: Prometheus) -> None:
    assert eventually(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()))
    # A toy's calibration is of 64 samples and its classes mean nothing, so that it may well drift.
    firing = {rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"}
    assert not {name for name in firing if not name.startswith("GanymedeDrift")}


@pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="set GRAFANA_SCHEMA to a node_modules folder with @grafana/schema and typescript",
)
def test_the_dashboard_is_one_by_grafanas_published_types(tmp_path: Path) -> None:
    def check(dashboard: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", SCHEMA_CHECK, MODULES, dashboard], capture_output=True, text=True, timeout=120, check=False
        )

    done = check(DASHBOARD)
    assert done.returncode == 0, done.stdout + done.stderr
    odd = json.loads(DASHBOARD.read_text(encoding="utf-8")) | {"refresh": 5}
    (tmp_path / "odd.json").write_text(json.dumps(odd), encoding="utf-8")
    assert "not assignable" in check(tmp_path / "odd.json").stdout
