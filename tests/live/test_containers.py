"""`docker compose up`, a real Prometheus, and every query of the dashboard; and that an image can be built again.

It needs a Docker engine and the base images, and takes minutes, so it runs only on request:

    GANYMEDE_TEST_CONTAINERS=1 make test

Docker's own COMPOSE_FILE variable may name more files than docker-compose.yml, for a host without a registry.
"""

import hashlib
import json
import math
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/grafana/dashboards/ganymede.json"
SERVICE = "http://127.0.0.1:8000"
PROMETHEUS = "http://127.0.0.1:9090"
PATIENCE_S = 90
POLL_S = 1

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("GANYMEDE_TEST_CONTAINERS") != "1",
        reason="builds images and starts containers: set GANYMEDE_TEST_CONTAINERS=1 where a Docker engine answers",
    ),
]


def compose(*arguments: str) -> str:
    """Run `docker compose` on the project's file; returns what it printed."""
    done = subprocess.run(["docker", "compose", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def eventually(holds: Callable[[], bool]) -> bool:
    """Poll every second until a condition holds, at most `PATIENCE_S`."""
    until = time.monotonic() + PATIENCE_S
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(POLL_S)  # Prometheus scrapes on its own clock
    return held


def values(query: str) -> list[float]:
    """Result of an instant query of Prometheus, one number a series."""
    answer = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": query}).raise_for_status().json()
    return [float(series["value"][1]) for series in answer["data"]["result"]]


def dashboard_queries() -> list[str]:
    """The queries of the provisioned dashboard, without those of drift, whose windows take minutes to fill by default.

    `tests/deploy/test_dashboard.py` asks all of them.
    """
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [query for query in queries if "ganymede_drift_" not in query]


def exercise() -> None:
    """One request of each kind that the dashboard has a panel for."""
    with httpx.Client(base_url=SERVICE, timeout=30) as client:
        for form in ("json", "png", "npy", "zip"):
            client.post(f"/generate?format={form}", json={"n": 16, "scores": form == "json"}).raise_for_status()
        image = client.post("/generate?format=png", json={"seed": 7, "label": 3}).raise_for_status().content
        client.post("/score?label=3", content=image, headers={"content-type": "image/png"}).raise_for_status()
        # Every package that is served: an idle one has series, too, and no quantile.
        items = {"model": "planted-items", "condition": 3}
        client.post("/generate", json={**items, "n": 4, "scores": True}).raise_for_status()
        client.post("/score", json={**items, "samples": [[1], [2]]}).raise_for_status()


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    try:
        compose("up", "--build", "--detach", "--wait")
        yield
    finally:
        compose("down", "--volumes")


def files(tag: str) -> dict[str, tuple[str, int, str]]:
    """Path → type with target, mode, SHA-256 of every entry of an image, without what a container is given."""
    made = subprocess.run(["docker", "create", tag], capture_output=True, text=True, check=True).stdout.strip()
    found: dict[str, tuple[str, int, str]] = {}
    with (
        subprocess.Popen(["docker", "export", made], stdout=subprocess.PIPE) as exporting,
        tarfile.open(fileobj=exporting.stdout, mode="r|") as archive,
    ):
        for entry in archive:
            content = archive.extractfile(entry)
            digest = hashlib.sha256(content.read()).hexdigest() if entry.isfile() and content else ""
            found[entry.name] = (f"{entry.type!r} {entry.linkname}", entry.mode, digest)
    subprocess.run(["docker", "rm", made], capture_output=True, check=True)
    return found


def test_two_builds_hold_the_same_files_byte_for_byte() -> None:
    tags = ["ganymede-built:1", "ganymede-built:2"]
    try:
        for tag in tags:
            built = subprocess.run(
                ["docker", "build", "--no-cache", "--tag", tag, "."],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert built.returncode == 0, built.stderr[-4000:]
        one, other = map(files, tags)
    finally:
        subprocess.run(["docker", "rmi", "--force", *tags], capture_output=True, check=True)
    assert len(one) > 3000
    assert {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)} == set()


@pytest.mark.usefixtures("stack")
def test_the_service_is_healthy_and_draws_a_sheet() -> None:
    answer = httpx.post(f"{SERVICE}/generate?format=png", json={"n": 64, "seed": 7}, timeout=30)
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")


@pytest.mark.usefixtures("stack")
def test_it_runs_as_nobody_on_a_file_system_that_it_cannot_write() -> None:
    assert compose("exec", "ganymede", "id", "-u").strip() == "10001"
    attempt = subprocess.run(
        ["docker", "compose", "exec", "ganymede", "touch", "/app/new"], cwd=ROOT, capture_output=True, check=False
    )
    assert attempt.returncode != 0


@pytest.mark.usefixtures("stack")
def test_prometheus_scrapes_it() -> None:
    assert eventually(lambda: values('up{job="ganymede"}') == [1.0])


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("query", dashboard_queries())
def test_a_query_of_the_dashboard_returns_a_series(query: str) -> None:
    def answered() -> bool:
        exercise()
        found = values(query)
        return bool(found) and not any(math.isnan(value) for value in found)

    assert eventually(answered), f"no series: {query}"


@pytest.mark.usefixtures("stack")
def test_it_drains_and_ends_well_when_it_is_stopped() -> None:
    compose("stop", "ganymede")
    container = compose("ps", "--all", "--quiet", "ganymede").strip()
    code = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.ExitCode}}", container], capture_output=True, text=True, check=True
    )
    assert code.stdout.strip() == "0"
