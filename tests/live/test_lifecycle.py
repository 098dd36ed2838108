"""Packages are published and removed under continuous load, without a failed request."""

import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric
from tests.support.toy import write_toy_package

# Growth of asyncio's default thread pool; a thread leaked by each reload would be a hundred.
POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
RELOADS = 100
BAD_EVERY = 10  # of so many publications one is bad
SETTLED = 20  # reloads after which memory no longer grows
SIDE = 16
# Left behind by the eighty reloads that follow. Measured are 1 to 3 MiB, the allocator's own.
MAX_GROWTH_BYTES = 16 * 1024 * 1024
REQUESTS: dict[str, dict[str, object]] = {
    "/generate?format=json": {"seed": 7, "n": 3},
    "/generate?format=npy": {"seed": 7, "n": 200},
    "/score": {"samples": [[0.5] * SIDE**2]},
}
# 31 MB as float32, more than all buffers: most of it is computed after its version was removed.
STREAM_PATH = "/generate?format=npy&dtype=float32"
STREAM = {"seed": 7, "n": 30_000}


@dataclass(frozen=True)
class Publisher:
    """Publishes versions of `toy`; odd ones make the samples of one kind, even ones those of another.

    Attributes:
        models_dir: folder of packages.
        kinds: two packages, even and odd, outside the models folder.
    """

    models_dir: Path
    kinds: tuple[Path, Path]

    @classmethod
    def make(cls, folder: Path) -> Self:
        even, odd = (
            write_toy_package(folder / "kinds", f"kind{seed}", seed=seed, height=SIDE, width=SIDE) for seed in range(2)
        )
        (folder / "models/toy").mkdir(parents=True)
        return cls(folder / "models", (even, odd))

    def publish(self, version: int, *, good: bool = True) -> None:
        """Publish a version by a rename; a bad one states no tolerance for the CPU."""
        temporary = self.models_dir / f"toy/.{version}.tmp"
        shutil.copytree(self.kinds[version % 2], temporary)
        manifest = json.loads((temporary / "manifest.json").read_text()) | {"name": "toy", "version": version}
        if not good:
            manifest["golden"]["tolerances"] = [{**manifest["golden"]["tolerances"][0], "provider": "NoProvider"}]
        (temporary / "manifest.json").write_text(json.dumps(manifest))
        temporary.rename(self.models_dir / f"toy/{version}")

    def remove(self, version: int) -> None:
        """Remove a version by a rename."""
        hidden = self.models_dir / f"toy/.{version}.old"
        (self.models_dir / f"toy/{version}").rename(hidden)
        shutil.rmtree(hidden)


def ask(client: httpx.Client, path: str) -> tuple[int, bytes]:
    """Return the version that answered, and the parts of the response that do not depend on its number."""
    answer = client.post(path, json=REQUESTS[path])
    assert answer.status_code == 200, answer.text
    if path.endswith("npy"):
        return int(answer.headers["x-model-version"]), answer.content
    body = answer.json()
    return int(body["version"]), json.dumps(body.get("samples") or body["scores"]).encode()


@contextmanager
def asking(process: ServiceProcess) -> Iterator[None]:
    """Repeat each request in its own client; every response must be that of its version's kind."""
    enough = threading.Event()

    def ask_on(path: str) -> tuple[int, set[tuple[int, bytes]]]:
        count, answers = 0, set()
        with process.client() as client:
            while not enough.is_set():
                version, content = ask(client, path)
                answers.add((version % 2, content))
                count += 1
        return count, answers

    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(ask_on, path) for path in REQUESTS]
        try:
            yield
        finally:
            enough.set()
        for client in clients:
            count, answers = client.result()  # raises where a request failed
            assert count > RELOADS
            assert sorted(kind for kind, _ in answers) == [0, 1]


def of_process(process: ServiceProcess, name: str) -> int:
    """A number of `/proc/PID/status` of the service: `VmRSS` in KiB, `Threads`."""
    lines = Path(f"/proc/{process.wait_for('listening')['pid']}/status").read_text().splitlines()
    (number,) = (int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return number


def digest(pieces: Iterator[bytes]) -> str:
    content = hashlib.sha256()
    for piece in pieces:
        content.update(piece)
    return content.hexdigest()


@pytest.mark.slow
def test_a_hundred_reloads_fail_no_request_change_no_byte_and_leave_nothing_behind(tmp_path: Path) -> None:
    publisher = Publisher.make(tmp_path)
    publisher.publish(1)
    serving = 1
    settled: dict[str, int] = {}
    with (
        ServiceProcess(publisher.models_dir, rescan_interval_s=0.02, max_batch_samples=8).loaded() as process,
        process.client() as client,
        asking(process),
    ):
        for version in range(2, RELOADS + 2):
            bad = version % BAD_EVERY == 0
            publisher.publish(version, good=not bad)
            if bad:
                process.wait_for("package refused", package=f"toy/{version}")
                refused, kept = client.get("/models/toy").json()["versions"][:2]
                assert (refused["state"], kept["version"], kept["state"]) == ("refused", str(serving), "ready")
                assert "states no tolerance" in refused["reason"]
                publisher.remove(version)
            else:
                process.wait_for("package ready", package=f"toy/{version}")
                publisher.remove(serving)
                process.wait_for("package unloaded", package=f"toy/{serving}")
                serving = version
            assert ask(client, "/score")[0] == serving
            assert client.get("/readyz").status_code == 200
            if version == SETTLED:
                settled = {name: of_process(process, name) for name in ("VmRSS", "Threads")}
        assert metric(client, "ganymede_package_loads_total", result="refused") == RELOADS / BAD_EVERY
        assert metric(client, "ganymede_package_ready") == 1
        assert of_process(process, "Threads") <= settled["Threads"] + POOL_THREADS
        assert (of_process(process, "VmRSS") - settled["VmRSS"]) * 1024 < MAX_GROWTH_BYTES


def test_a_stream_ends_with_the_version_it_began_with_although_that_is_gone(tmp_path: Path) -> None:
    publisher = Publisher.make(tmp_path)
    publisher.publish(1)
    with ServiceProcess(publisher.models_dir, rescan_interval_s=0.02).loaded() as process, process.client() as client:
        with client.stream("POST", STREAM_PATH, json=STREAM) as answer, process.client() as other:
            publisher.publish(2)
            process.wait_for("package ready", package="toy/2")
            publisher.remove(1)
            while (versions := other.get("/models/toy").json()["versions"])[-1]["state"] == "ready":
                pass
            assert [(each["version"], each["state"]) for each in versions] == [("2", "ready"), ("1", "unloading")]
            assert other.post("/generate", json={"version": 1}).status_code == 404
            streamed = digest(answer.iter_raw())
        process.wait_for("package unloaded", package="toy/1")
        publisher.publish(3)  # of the same kind
        process.wait_for("package ready", package="toy/3")
        with client.stream("POST", STREAM_PATH, json=STREAM) as answer:
            assert digest(answer.iter_raw()) == streamed


def test_models_are_loaded_and_unloaded_only_from_the_services_own_host(tmp_path: Path) -> None:
    publisher = Publisher.make(tmp_path)
    publisher.publish(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; it only asks which address would be used
        own_address = probe.getsockname()[0]
    unload, load = ("/v2/repository/models/toy/unload", "/v2/repository/models/toy/load")
    options = {"host": "0.0.0.0", "without_keys": "anyone-may-use-it"}  # noqa: S104
    with ServiceProcess(publisher.models_dir, **options).loaded() as process, process.client() as local:
        url = f"http://{own_address}:{process.port}"
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as remote:
            assert remote.post("/generate").status_code == 200
            refusals = [remote.post(path) for path in (unload, load)]
            assert [refusal.status_code for refusal in refusals] == [403, 403]
            assert "service's own host" in refusals[0].json()["error"]
            assert local.post(unload, headers={"origin": "https://example.org"}).status_code == 403
            assert local.post(unload).status_code == 200
            process.wait_for("package unloaded", package="toy/1")
            (version,) = remote.get("/models/toy").json()["versions"]
            assert (version["version"], version["state"], version["on_demand"]) == ("1", "unloaded", False)
            assert remote.post("/generate").status_code == 404
            not_ready = remote.get("/readyz")
            assert (not_ready.status_code, "toy" in not_ready.json()["detail"]) == (503, True)
            assert local.post(load).status_code == 200
            assert remote.post("/generate").status_code == 200
            assert remote.get("/readyz").status_code == 200
